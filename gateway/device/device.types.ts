// What must not compile: proofs made by hand.
import { EndpointDevice, NodeDevice } from './attested-device.ts';
import type { Revocations } from './revocations.ts';

declare const endpoint: EndpointDevice;
declare const node: NodeDevice;

// @ts-expect-error only verify makes one
void new EndpointDevice();

// @ts-expect-error an object of the same shape is not one
void ({ device: endpoint.device, issuer: endpoint.issuer } satisfies EndpointDevice);

// @ts-expect-error a node is not an endpoint
void (node satisfies EndpointDevice);

// @ts-expect-error nor the other way round
void (endpoint satisfies NodeDevice);

// @ts-expect-error a list of revocations is opened, not written down
void ({ issuer: 'x', sequence: 1, issuedAt: 1, devices: [] } satisfies Revocations);
