// Calls every rpc of the services that a browser can call, by gRPC-Web or Connect.
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError, createClient, Code } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";

const TRANSPORTS = { "grpc-web": createGrpcWebTransport, connect: createConnectTransport };

async function result(method, client, request) {
  const options = { timeoutMs: 20000 };
  if (method.methodKind === "unary") return client[method.localName](request, options);
  for await (const message of client[method.localName](request, options)) return message;
  return {};
}

// The outcome of a call: "ok", or the code and the reason of its error.
async function outcome(method, client, request) {
  try {
    await result(method, client, request);
    return "ok";
  } catch (error) {
    const failure = ConnectError.from(error);
    const bytes = failure.details.map((detail) => detail.value);
    const reasons = bytes.map((value) => value && new TextDecoder().decode(value)).join();
    const reason = /[A-Z]+(_[A-Z]+)+/.exec(reasons);
    return `${Code[failure.code]} ${reason ? reason[0] : failure.message}`;
  }
}

window.callAll = async ({ baseUrl, protocol, services, requests }) => {
  const content = await (await fetch("/descriptors")).arrayBuffer();
  const set = fromBinary(FileDescriptorSetSchema, new Uint8Array(content));
  const registry = createFileRegistry(set);
  const transport = TRANSPORTS[protocol]({ baseUrl, useBinaryFormat: true });
  const outcomes = {};
  for (const name of services) {
    const service = registry.getService(name);
    const client = createClient(service, transport);
    for (const method of service.methods) {
      if (!["unary", "server_streaming"].includes(method.methodKind)) continue;
      const key = `${name}/${method.name}`;
      outcomes[key] = await outcome(method, client, requests[key] ?? {});
    }
  }
  return outcomes;
};
