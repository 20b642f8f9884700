export interface TemplateValues {
  readonly name: string;
  readonly member: string;
  readonly instance: string;
  readonly linkPort: number;
  readonly workers: number;
  /** Absolute folder of the policy bundle that comes with the program. */
  readonly bundle: string;
}

/**
 * The configuration as an operator first sees it. Every line that is commented out shows its default or an example, and
 * a test uncomments them all, so that none can grow wrong.
 */
export const gatewayYaml = ({
  name,
  member,
  instance,
  linkPort,
  workers,
  bundle,
}: TemplateValues): string => `\
# Configuration of the gateway ${name}
# Relative paths start from this folder. Unknown settings are refused. Full description: troad config schema
# Check it: troad doctor --config gateway.yaml

node:
  name: ${name} # the one DNS name in link.pem, and the name in the registry
  member: ${member}
  instance: ${instance}

# Threads that carry exchanges. Each has an evidence log of its own, and the registry lists a key for each.
workers: ${workers}

# Where the information systems of this agency connect.
listen:
  http: # this machine only
    host: 127.0.0.1
    port: 8080
  #https:
  #  host: 0.0.0.0
  #  port: 8443
  #  cert: https.pem
  #  key: https.key

# Where other gateways connect: mutual TLS 1.3, nothing else.
link:
  host: 0.0.0.0
  port: ${linkPort}
  cert: link.pem # certificate, then its issuing authorities
  key: link.key
  ca: ca.pem
  #requireHybrid: false # true refuses peers without post-quantum key exchange
  #sessionsPerPeer: 2

# Health, readiness, metrics, checkpoint of the log.
admin:
  host: 127.0.0.1
  port: 5580
  #tokenFile: admin.token # needed when host is not loopback

registry:
  file: registry.json
  rootKeys: [registry-root.pem]
  #reloadSeconds: 30

keys:
  message:
    file: message.key
  log: log.key

# The evidence log. On a local disk, never on a network file system; keep it for at least three years.
log:
  dir: log
  #segmentMiB: 64
  #origin: ${name}/troad-log

policy:
  bundle: "${bundle}"

# Information systems that may send requests through this gateway.
subsystems: []
#  - id: ${member}/welfare
#    access: loopback # mtls (default): registered client certificate · https · loopback: plain HTTP from this machine
#  - id: ${member}/tax
#    certificates: [${'ab'.repeat(32)}] # SHA-256 as openssl x509 -fingerprint -sha256 prints it, or a PEM file

# Services this gateway offers to others.
services: []
#  - id: ${member}/housing/v1
#    url: http://127.0.0.1:9000/api
#    timeoutSeconds: 120
#    maxRequestBytes: 1 GiB
#    maxConcurrent: 256
#    delivery: stream # verified: the service sees nothing of a request before its signature is checked

#limits:
#  headSeconds: 10
#  bodyIdleSeconds: 60
#  connectSeconds: 5
#  answerSeconds: 130
#  idleConnectionSeconds: 75
#  drainSeconds: 30
#  policySeconds: 0.5
#  maxInFlight: 4096
#  maxConnections: 16384

#compat:
#  errorCodes: camel # snake for X-Road 7.8
#  requestHash: whole # sha512 for streams too, at the price of a third of an upload
`;
