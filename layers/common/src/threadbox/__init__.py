"""What more than one Threadbox function needs: a noun per module. It never imports a function."""

__version__ = "0.1.0"
