"""What the doctor looks at. A check looks, changes nothing, and says what it found and what to do about it."""
