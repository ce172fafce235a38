// Asks with Apache HttpClient 5, which Spring uses where it is there: `java -cp ... AskApache.java BASE MANIFEST ANSWERS`.

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.hc.client5.http.classic.methods.HttpUriRequestBase;
import org.apache.hc.client5.http.impl.classic.CloseableHttpClient;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.core5.http.ContentType;
import org.apache.hc.core5.http.io.entity.EntityUtils;
import org.apache.hc.core5.http.io.entity.FileEntity;
import org.apache.hc.core5.http.io.entity.InputStreamEntity;

public class AskApache {
    public static void main(String[] told) throws Exception {
        try (CloseableHttpClient client = HttpClients.createDefault()) {
            for (String line : Files.readAllLines(Path.of(told[1]))) {
                String[] part = line.split("\t", -1);
                HttpUriRequestBase request = new HttpUriRequestBase(part[1], java.net.URI.create(told[0] + part[2]));
                for (int place = 5; place < part.length; place++) {
                    String[] header = part[place].split(": ", 2);
                    request.setHeader(header[0], header[1]);
                }
                if (part[4].equals("chunked")) {
                    request.setEntity(new InputStreamEntity(Files.newInputStream(Path.of(part[3])), null));
                } else if (!part[3].isEmpty()) {
                    request.setEntity(new FileEntity(new File(part[3]), (ContentType) null));
                }
                int status = client.execute(request, reply -> {
                    byte[] body = reply.getEntity() == null ? new byte[0] : EntityUtils.toByteArray(reply.getEntity());
                    Files.write(Path.of(told[2], part[0]), body);
                    return reply.getCode();
                });
                System.out.println(part[0] + "\t" + status);
            }
        }
    }
}
