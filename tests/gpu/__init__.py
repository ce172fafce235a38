"""What a GPU shows, in one run of eight minutes at most: `make gpu`."""
