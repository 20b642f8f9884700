import type { Rows } from './row.ts';

/** The machine behind the request, and the hosts of gateways. */
export const DEVICE = {
  // The machine behind the request, and the peer's own host (RFC 9334 relying party).
  'device.required': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'This service demands an attested device, and no attestation result was presented. Attest the device (troad device run) and repeat.',
    zh: '此服務要求經鑑別的設備，但未出示證明結果。請執行設備代理程式（troad device run）後重試。',
  },
  'device.result': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The attestation result is not acceptable: its form, issuer, signature, audience or certificate is wrong.',
    zh: '設備證明結果不被接受：其格式、簽發者、簽章、對象或憑證不符。',
  },
  'device.expired': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The attestation result has expired. Attest the device again.',
    zh: '設備證明結果已過期，請重新證明。',
  },
  'device.binding': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: "The attestation result is not bound to this connection by the device's TPM.",
    zh: '設備證明結果未由設備的 TPM 與此連線綁定。',
  },
  'device.superseded': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'A newer result, a reboot or a changed policy has replaced this attestation result. Attest the device again.',
    zh: '此證明結果已被較新的結果、重新開機或政策變更取代，請重新證明。',
  },
  'device.revoked': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The device is suspended or revoked. Ask the administrator of the attestation service.',
    zh: '此設備已被停權或撤銷，請洽證明服務管理者。',
  },
  'device.insufficient': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The state of the device is below what this service demands.',
    zh: '設備狀態低於此服務的要求。',
  },

  'device.node_required': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The agreement demands that both gateways run on attested hosts, and one of them has shown no current result. Its operator has to look at its device agent.',
    zh: '介接協議要求雙方閘道均運行於經鑑別的主機，其中一方未出示有效的證明結果。請該方營運者檢查設備代理程式。',
  },
  'device.node_insufficient': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: "The state of a gateway's host is below what the agreement demands.",
    zh: '閘道主機的狀態低於介接協議的要求。',
  },
} as const satisfies Rows;
