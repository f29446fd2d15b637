"""What files of pictures say beside the pictures."""
