"""Defences taken out, one at a time: for each there is a test that must notice."""
