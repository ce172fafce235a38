// Asks with OkHttp, as Android and Retrofit do: `java -cp ... AskOk.java BASE MANIFEST ANSWERS`.

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import okhttp3.MediaType;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;
import okio.BufferedSink;

public class AskOk {
    public static void main(String[] told) throws Exception {
        OkHttpClient client = new OkHttpClient();
        for (String line : Files.readAllLines(Path.of(told[1]))) {
            String[] part = line.split("\t", -1);
            Request.Builder request = new Request.Builder().url(told[0] + part[2]);
            for (int place = 5; place < part.length; place++) {
                String[] header = part[place].split(": ", 2);
                request.header(header[0], header[1]);
            }
            RequestBody body = part[3].isEmpty() ? null
                : part[4].equals("chunked") ? streamed(part[3]) : RequestBody.create((MediaType) null, new File(part[3]));
            try (Response reply = client.newCall(request.method(part[1], body).build()).execute()) {
                Files.write(Path.of(told[2], part[0]), reply.body().bytes());
                System.out.println(part[0] + "\t" + reply.code());
            }
        }
        client.dispatcher().executorService().shutdown();
        client.connectionPool().evictAll();
    }

    static RequestBody streamed(String file) {
        return new RequestBody() {
            @Override public MediaType contentType() {
                return null;
            }

            @Override public void writeTo(BufferedSink sink) throws java.io.IOException {
                sink.write(Files.readAllBytes(Path.of(file)));
            }
        };
    }
}
