"""OpenAI's requests, replies, events and errors, as its clients write and read them."""
