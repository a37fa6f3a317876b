"""Runs in an environment of its own that has the official clients, and does with them what is asked on standard input:
{"api", "url", "ca", …, "do": [[operation, …], …]}. Prints what each gave: {"gave": …} or {"status", "words"}.
"""

import base64
import datetime
import json
import os
import sys

asked = json.load(sys.stdin)
os.environ["REQUESTS_CA_BUNDLE"] = asked["ca"]


def azure():
    from azure.core.exceptions import HttpResponseError
    from azure.identity import ClientSecretCredential
    from azure.keyvault.secrets import SecretClient

    who = ClientSecretCredential(
        asked["tenant"], asked["client"], asked["secret"], authority=asked["url"], disable_instance_discovery=True,
        connection_verify=asked["ca"],
    )
    more = {"api_version": asked["version"]} if asked.get("version") else {}
    client = SecretClient(asked["url"], who, verify_challenge_resource=False, connection_verify=asked["ca"], retry_total=0, **more)

    def shown(one):
        expires = one.expires_on and int(one.expires_on.timestamp())
        return {"version": one.version, "type": one.content_type, "tags": one.tags, "expires": expires, "enabled": one.enabled}

    def get(name, version=None):
        found = client.get_secret(name, version)
        return {"value": found.value, **shown(found.properties)}

    def set_(name, value, kind=None, tags=None, expires=None, begins=None):
        moment = lambda at: at and datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
        made = client.set_secret(name, value, content_type=kind, tags=tags, expires_on=moment(expires), not_before=moment(begins))
        return shown(made.properties)

    return HttpResponseError, lambda error: (error.status_code, error.message), {
        "get": get,
        "set": set_,
        "enable": lambda name, version, on: shown(client.update_secret_properties(name, version, enabled=on)),
        "versions": lambda name: [shown(one) for one in client.list_properties_of_secret_versions(name)],
        "names": lambda: sorted(one.name for one in client.list_properties_of_secrets()),
        "delete": lambda name: client.begin_delete_secret(name).result().name,
        "recover": lambda name: client.begin_recover_deleted_secret(name).result().name,
    }


def google():
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud import secretmanager
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceRestTransport
    from google.oauth2 import service_account

    file = {**json.loads(asked["file"]), "token_uri": f"{asked['url']}/token"}
    # By the token endpoint, which every service of Google takes; this client would sign its own tokens instead.
    who = service_account.Credentials.from_service_account_info(file, scopes=["https://www.googleapis.com/auth/cloud-platform"])
    transport = SecretManagerServiceRestTransport(host=asked["url"].removeprefix("https://"), credentials=who, always_use_jwt_access=False)
    client = secretmanager.SecretManagerServiceClient(transport=transport)
    project = f"projects/{asked['project']}"
    secret = lambda name: f"{project}/secrets/{name}"
    version = lambda name, number: f"{secret(name)}/versions/{number}"
    no_retry = {"retry": None, "timeout": 60}

    def crc32c(data):
        total = 0xFFFFFFFF
        for byte in data:
            total ^= byte
            for _ in range(8):
                total = (total >> 1) ^ 0x82F63B78 if total & 1 else total >> 1
        return total ^ 0xFFFFFFFF

    def get(name, number="latest"):
        found = client.access_secret_version(request={"name": version(name, number)}, **no_retry)
        data = found.payload.data
        # As the documentation's samples do.
        assert found.payload.data_crc32c == crc32c(data), "the checksum is another"
        return {"value": data.decode(), "version": found.name.rsplit("/", 1)[1]}

    def add(name, value):
        data = value.encode()
        payload = {"data": data, "data_crc32c": crc32c(data)}
        return client.add_secret_version(request={"parent": secret(name), "payload": payload}, **no_retry).name.rsplit("/", 1)[1]

    return GoogleAPICallError, lambda error: (error.code, error.message), {
        "create": lambda name: client.create_secret(request={"parent": project, "secret_id": name, "secret": {"replication": {"automatic": {}}}}, **no_retry).name,
        "add": add,
        "get": get,
        "versions": lambda name: [(one.name.rsplit("/", 1)[1], one.state.name, one.client_specified_payload_checksum) for one in client.list_secret_versions(request={"parent": secret(name)}, **no_retry)],
        "disable": lambda name, number: client.disable_secret_version(request={"name": version(name, number)}, **no_retry).state.name,
        "enable": lambda name, number: client.enable_secret_version(request={"name": version(name, number)}, **no_retry).state.name,
        "destroy": lambda name, number: client.destroy_secret_version(request={"name": version(name, number)}, **no_retry).state.name,
        "delete": lambda name: client.delete_secret(request={"name": secret(name)}, **no_retry),
    }


def kubernetes():
    import pathlib

    from kubernetes import client
    from kubernetes.config.incluster_config import InClusterConfigLoader

    # As in a pod, but for where the folder is.
    place, port = pathlib.Path(asked["pod"]), asked["url"].rsplit(":", 1)[1]
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port}
    settings = client.Configuration()
    InClusterConfigLoader(place / "token", str(place / "ca.crt"), environ=environment).load_and_set(settings)
    api = client.CoreV1Api(client.ApiClient(settings))
    namespace = (place / "namespace").read_text()

    def shown(found):
        data = {key: base64.b64decode(value).decode() for key, value in (found.data or {}).items()}
        return {"data": data, "type": found.type, "version": found.metadata.resource_version, "labels": found.metadata.labels}

    def body(name, data, version=None, immutable=None, labels=None):
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        metadata = client.V1ObjectMeta(name=name, resource_version=version, labels=labels)
        return client.V1Secret(api_version="v1", kind="Secret", type="Opaque", metadata=metadata, data=encoded, immutable=immutable)

    def patch(name, data):
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        return shown(api.patch_namespaced_secret(name, namespace, {"data": encoded}, _content_type="application/merge-patch+json"))

    def words(error):
        return error.status, json.loads(error.body)["message"]

    return client.ApiException, words, {
        "create": lambda name, data, **more: shown(api.create_namespaced_secret(namespace, body(name, data, **more))),
        "get": lambda name: shown(api.read_namespaced_secret(name, namespace)),
        "patch": patch,
        "replace": lambda name, data, version: shown(api.replace_namespaced_secret(name, namespace, body(name, data, version))),
        "delete": lambda name: api.delete_namespaced_secret(name, namespace) and None,
        "names": lambda: sorted(one.metadata.name for one in api.list_namespaced_secret(namespace).items),
    }


refused, words, operations = {"azure": azure, "google": google, "kubernetes": kubernetes}[asked["api"]]()
told = []
for operation, *given in asked["do"]:
    more = given.pop() if given and isinstance(given[-1], dict) and given[-1].pop("named", False) else {}
    try:
        told.append({"gave": operations[operation](*given, **more)})
    except refused as error:
        status, message = words(error)
        told.append({"status": status, "words": message})
json.dump(told, sys.stdout)
