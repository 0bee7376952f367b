"""Code that test modules share. Test modules import this package, and not each other."""
