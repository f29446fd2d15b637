"""Pictures with text on them: contact sheets, evidence, and the fonts that they are lettered in."""
