"""Loading: the text's parser beside that of `datasets`, and how long a first row takes."""
