import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.Scanner;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.security.JaasContext;

/** For each line of client properties (KEY TAB VALUE TAB ...): the login that the connector's Kafka client makes of it. */
public final class FlinkKafkaLogin {
    public static void main(String[] none) {
        Scanner lines = new Scanner(System.in, StandardCharsets.UTF_8);
        while (lines.hasNextLine()) {
            String[] words = lines.nextLine().split("\t");
            Map<String, Object> given = new HashMap<>();
            for (int at = 0; at < words.length; at += 2) {
                given.put(words[at], words[at + 1]);
            }
            Map<String, ?> values = new AdminClientConfig(given).values();
            AppConfigurationEntry login =
                    JaasContext.loadClientContext(values).configurationEntries().get(0);
            System.out.println(
                    String.join(
                            " ",
                            login.getLoginModuleName(),
                            encoded(login.getOptions().get("username")),
                            encoded(login.getOptions().get("password"))));
        }
    }

    private static String encoded(Object text) {
        return "b" + Base64.getEncoder().encodeToString(text.toString().getBytes(StandardCharsets.UTF_8));
    }
}
