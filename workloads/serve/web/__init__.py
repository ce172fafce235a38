"""Routes for people instead of clients of the protocol: POST a picture or rows to /predict, or open / in a browser."""
