// Asks with grpc-java over Netty: `java -cp ... AskGrpc.java HOST:PORT MANIFEST ANSWERS`.
// A line of the manifest is NAME, METHOD and the file of a message, each after a tab. Messages stay bytes.

import io.grpc.*;
import io.grpc.netty.*;
import io.grpc.stub.ClientCalls;
import java.io.*;
import java.nio.file.*;
import java.util.concurrent.TimeUnit;

public class AskGrpc {
    static final MethodDescriptor.Marshaller<byte[]> BYTES = new MethodDescriptor.Marshaller<>() {
        public InputStream stream(byte[] value) {
            return new ByteArrayInputStream(value);
        }

        public byte[] parse(InputStream stream) {
            try {
                return stream.readAllBytes();
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    };

    public static void main(String[] arguments) throws Exception {
        ManagedChannel channel = NettyChannelBuilder.forTarget(arguments[0]).usePlaintext().maxInboundMessageSize(64 << 20).build();
        for (String line : Files.readAllLines(Path.of(arguments[1]))) {
            String[] part = line.split("\t");
            MethodDescriptor<byte[], byte[]> method = MethodDescriptor.<byte[], byte[]>newBuilder()
                .setType(MethodDescriptor.MethodType.UNARY)
                .setFullMethodName(part[1])
                .setRequestMarshaller(BYTES)
                .setResponseMarshaller(BYTES)
                .build();
            String status = "OK";
            CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(30, TimeUnit.SECONDS);
            if (part[0].startsWith("gzip")) {
                options = options.withCompression("gzip");
            }
            try {
                byte[] answer = ClientCalls.blockingUnaryCall(channel, method, options, Files.readAllBytes(Path.of(part[2])));
                Files.write(Path.of(arguments[2], part[0]), answer);
            } catch (StatusRuntimeException error) {
                status = error.getStatus().getCode().name();
            }
            System.out.println(part[0] + "\t" + status);
        }
        channel.shutdownNow();
    }
}
