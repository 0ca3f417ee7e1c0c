"""What the commands ``bench``, ``export`` and ``data check`` do, for use from Python."""
