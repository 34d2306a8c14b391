"""What is done around every verb: counting, and saying who may."""
