"""Pictures and boxes: decoding, preprocessing, detection."""
