"""Code that test modules share. They import it from here, and do not import each other."""
