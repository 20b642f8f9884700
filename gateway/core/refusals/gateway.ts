import type { Rows } from './row.ts';

/** Ourselves. */
export const GATEWAY = {
  // Ourselves.
  'evidence.unavailable': {
    status: 503,
    fault: 'gateway',
    mark: 'event',
    xroad: 'Server.ClientProxy.LoggingFailed',
    en: 'The evidence log cannot take records, so nothing is carried.',
    zh: '證據日誌無法寫入，因此停止傳送。',
  },
  'registry.unknown_member': {
    status: 404,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ClientProxy.UnknownMember',
    en: 'The registry knows no such provider, or no gateway for it.',
    zh: '登記名冊中沒有此提供方，或沒有其閘道。',
  },
  'registry.expired': {
    status: 503,
    fault: 'gateway',
    mark: 'event',
    xroad: 'Server.ClientProxy.OutdatedGlobalConf',
    en: 'The registry has expired.',
    zh: '登記名冊已過期。',
  },
  'gateway.draining': {
    status: 503,
    fault: 'gateway',
    mark: 'event',
    xroad: 'Server.ClientProxy.MaintenanceMode',
    en: 'The gateway is shutting down. Try again.',
    zh: '閘道正在關閉，請稍後再試。',
  },
  'gateway.overloaded': {
    status: 503,
    fault: 'gateway',
    mark: 'event',
    xroad: 'Server.ClientProxy.NetworkError',
    en: 'Too many exchanges in flight. Try again later.',
    zh: '同時交換過多，請稍後再試。',
  },
  'gateway.replicas': {
    status: 503,
    fault: 'gateway',
    mark: 'event',
    xroad: 'Server.ClientProxy.NetworkError',
    en: 'The store that the replicas of the gateway share cannot be asked, so nothing is carried. Try again later.',
    zh: '無法查詢閘道各副本共用的儲存庫，因此停止傳送，請稍後再試。',
  },
  'gateway.crashed': {
    status: 500,
    fault: 'gateway',
    mark: 'abort',
    xroad: 'Server.ClientProxy.InternalError',
    en: 'The gateway stopped in the middle of this exchange. Its log says so since the restart.',
    zh: '閘道在此次交換途中停止，重新啟動後已於日誌中記載。',
  },
  'gateway.internal': {
    status: 500,
    fault: 'gateway',
    mark: 'record',
    xroad: 'Server.ClientProxy.InternalError',
    en: 'The gateway failed. The detail id finds the cause in its log.',
    zh: '閘道發生錯誤，可用 detail 編號在日誌中查詢原因。',
  },
} as const satisfies Rows;
