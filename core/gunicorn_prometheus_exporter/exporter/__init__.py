"""The exporter process: it reads the storage and serves it over HTTP."""
