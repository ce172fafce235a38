"""OpenVINO's IR of a language model: written from a folder of Hugging Face's, and run as the server will run it."""
