// Asks with a library of Java's: `java [-cp ...] Ask.java LIBRARY BASE MANIFEST ANSWERS`. What a manifest is: inputs.py.

import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;

public class Ask {
    public static void main(String[] told) throws Exception {
        HttpClient.Version version = told[0].equals("http2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1;
        HttpClient client = HttpClient.newBuilder().version(version).build();
        for (String line : Files.readAllLines(Path.of(told[2]))) {
            String[] part = line.split("\t", -1);
            Path answer = Path.of(told[3], part[0]);
            int status = told[0].equals("connection")
                ? connection(told[1] + part[2], part, answer) : asked(client, told[1] + part[2], part, answer);
            System.out.println(part[0] + "\t" + status);
        }
    }

    static int asked(HttpClient client, String url, String[] part, Path answer) throws Exception {
        HttpRequest.BodyPublisher body = part[3].isEmpty() ? HttpRequest.BodyPublishers.noBody()
            : part[4].equals("chunked") ? streamed(part[3]) : HttpRequest.BodyPublishers.ofFile(Path.of(part[3]));
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url)).method(part[1], body);
        for (int place = 5; place < part.length; place++) {
            String[] header = part[place].split(": ", 2);
            request.header(header[0], header[1]);
        }
        HttpResponse<byte[]> reply = client.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
        Files.write(answer, reply.body());
        return reply.statusCode();
    }

    static HttpRequest.BodyPublisher streamed(String file) {
        return HttpRequest.BodyPublishers.ofInputStream(() -> {
            try {
                return Files.newInputStream(Path.of(file));
            } catch (java.io.IOException error) {
                throw new java.io.UncheckedIOException(error);
            }
        });
    }

    static int connection(String url, String[] part, Path answer) throws Exception {
        HttpURLConnection connection = (HttpURLConnection) new URL(url).openConnection();
        connection.setRequestMethod(part[1]);
        for (int place = 5; place < part.length; place++) {
            String[] header = part[place].split(": ", 2);
            connection.setRequestProperty(header[0], header[1]);
        }
        if (!part[3].isEmpty()) {
            connection.setDoOutput(true);
            if (part[4].equals("chunked")) {
                connection.setChunkedStreamingMode(4096);
            }
            Files.copy(Path.of(part[3]), connection.getOutputStream());
        }
        int status = connection.getResponseCode();
        InputStream stream = status < 400 ? connection.getInputStream() : connection.getErrorStream();
        Files.write(answer, stream == null ? new byte[0] : stream.readAllBytes());
        return status;
    }
}
