"""Values to sealed records and back: serialise, compress, seal; bound to namespace, cache, key and expiry."""
