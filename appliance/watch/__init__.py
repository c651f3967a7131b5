"""What goes on after the install: attacks on the served release (`redteam`), and whether it still does as it did."""
