"""Handles in front of handles: who may call a verb, and what the audit log learns of it."""
