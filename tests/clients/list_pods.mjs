// Lists the Pods of a namespace with the official JavaScript client, configured through KUBECONFIG.
// The first argument is the folder of the installed client.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, namespace] = process.argv.slice(2);
const path = createRequire(join(folder, "package.json")).resolve("@kubernetes/client-node");
const { CoreV1Api, KubeConfig } = await import(pathToFileURL(path));

const config = new KubeConfig();
config.loadFromDefault();
const pods = await config.makeApiClient(CoreV1Api).listNamespacedPod({ namespace });
for (const pod of pods.items) {
  console.log(pod.metadata.name);
}
