"""An audit: from two folders of pictures to an answer in one sentence, with what it rests on."""
