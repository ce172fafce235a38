"""HTTP/2 from bytes to streams and back, for the gRPC server: one thin asyncio.Protocol per connection.

grpcio's own transport gathers a message in one piece while it holds the interpreter: 62 MiB stop every other client
for a tenth of a second. Here a message is taken in pieces, each of which is counted and bounded.
"""
