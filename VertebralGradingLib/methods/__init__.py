"""What judges a measured study: the table of methods, and morphometry as one of them."""
