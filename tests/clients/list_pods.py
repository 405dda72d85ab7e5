"""Lists the Pods of a namespace with one of the Python clients, configured through KUBECONFIG."""

import asyncio
import sys


def kubernetes(namespace):
    from kubernetes import client, config

    config.load_kube_config()
    return [pod.metadata.name for pod in client.CoreV1Api().list_namespaced_pod(namespace).items]


def kubernetes_asyncio(namespace):
    from kubernetes_asyncio import client, config

    async def names():
        await config.load_kube_config()
        async with client.ApiClient() as api:
            pods = await client.CoreV1Api(api).list_namespaced_pod(namespace)
            return [pod.metadata.name for pod in pods.items]

    return asyncio.run(names())


def lightkube(namespace):
    from lightkube import Client
    from lightkube.resources.core_v1 import Pod

    return [pod.metadata.name for pod in Client().list(Pod, namespace=namespace)]


def kr8s(namespace):
    import kr8s

    return [pod.name for pod in kr8s.get("pods", namespace=namespace)]


def pykube(namespace):
    from pykube import HTTPClient, KubeConfig, Pod

    api = HTTPClient(KubeConfig.from_env())
    return [pod.name for pod in Pod.objects(api).filter(namespace=namespace)]


CLIENTS = {client.__name__: client for client in [kubernetes, kubernetes_asyncio, lightkube, kr8s, pykube]}

_, client, namespace = sys.argv
for name in CLIENTS[client](namespace):
    print(name)
