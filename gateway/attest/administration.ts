import type { DeviceRecord } from './devices.ts';
import { Refused } from './refused.ts';

export const ADMIN_ACTIONS = ['approve', 'suspend', 'resume', 'revoke', 're-enrol'] as const;
export type AdminAction = (typeof ADMIN_ACTIONS)[number];

/** What an administrator says a new device is. */
export interface Approval {
  readonly class: DeviceRecord['class'];
  /** Of nodes: the gateway on this host. */
  readonly gateway: string | undefined;
}

/**
 * The record after an administrator's decision. Whatever takes trust away raises the epoch.
 * @throws Refused `admin.state`
 */
export function decided(record: DeviceRecord, action: AdminAction, as: Approval): DeviceRecord {
  const { state, epoch } = record;
  const refuse = (): never => {
    throw new Refused('admin.state', `${record.name} is ${state}`);
  };
  switch (action) {
    case 'approve':
      if ((as.class === 'node') !== (as.gateway !== undefined)) {
        throw new Refused('admin.state', 'a node, and only a node, has a gateway');
      }
      return state === 'pending' ? { ...record, ...as, state: 'active' } : refuse();
    case 'suspend':
      return state === 'active' ? { ...record, state: 'suspended', epoch: epoch + 1 } : refuse();
    case 'resume':
      return state === 'suspended' ? { ...record, state: 'active' } : refuse();
    case 'revoke':
      return state === 'revoked' ? refuse() : { ...record, state: 'revoked', epoch: epoch + 1 };
    case 're-enrol':
      return { ...record, mayReEnrol: true };
  }
}
