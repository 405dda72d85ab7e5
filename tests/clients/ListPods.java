import io.fabric8.kubernetes.client.KubernetesClientBuilder;

/** Lists the Pods of a namespace with fabric8, configured through KUBECONFIG. */
public class ListPods {
    public static void main(String[] arguments) {
        try (var client = new KubernetesClientBuilder().build()) {
            for (var pod : client.pods().inNamespace(arguments[0]).list().getItems()) {
                System.out.println(pod.getMetadata().getName());
            }
        }
    }
}
