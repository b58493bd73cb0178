"""The apps that are measured, and those that they are compared with."""
