/**
 * Every refusal the gateway can answer or log, in one table. The key is the code: the same string in the answer, the
 * log record, the metric and the conformance case.
 */

/** Who has to change something. With "the provider answered with an error" (no row: we only pass it on), T-Road's four classes. */
export type Fault = 'requester' | 'provider' | 'gateway';

/**
 * How a refusal is logged. `record`: a signed deny record. `abort`: a signed terminal record of an exchange that had
 * begun. `event`: a rate-limited security event with the peer's address, before anyone was identified, so that noise
 * cannot fill the signed log.
 */
export type LogMark = 'record' | 'abort' | 'event';

export interface RefusalRow {
  readonly status: number;
  readonly fault: Fault;
  readonly mark: LogMark;
  /** X-Road error type as printed in its specification (up to 7.7); 7.8 spells the same in snake_case. */
  readonly xroad: string;
  /** What the requester reads, and what to do. English and Traditional Chinese. No attacker-controlled text. */
  readonly en: string;
  readonly zh: string;
}

const CLIENT = 'Client.BadRequest';

export const REFUSALS = {
  // The bytes on the connection (RFC 9112, RFC 9113). Before anyone is identified.
  'framing.malformed': {
    status: 400,
    fault: 'requester',
    mark: 'event',
    xroad: CLIENT,
    en: 'The request is not well-formed HTTP/1.1 or HTTP/2. Check Content-Length, Transfer-Encoding and line ends.',
    zh: '請求不是格式正確的 HTTP/1.1 或 HTTP/2，請檢查 Content-Length、Transfer-Encoding 與換行。',
  },
  'framing.version': {
    status: 505,
    fault: 'requester',
    mark: 'event',
    xroad: CLIENT,
    en: 'Use HTTP/1.1 or HTTP/2.',
    zh: '請使用 HTTP/1.1 或 HTTP/2。',
  },
  'framing.method': {
    status: 405,
    fault: 'requester',
    mark: 'event',
    xroad: CLIENT,
    en: 'This method is not carried. Use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.',
    zh: '不支援此 HTTP 方法，請使用 GET、HEAD、POST、PUT、PATCH、DELETE 或 OPTIONS。',
  },
  'framing.body_unexpected': {
    status: 400,
    fault: 'requester',
    mark: 'event',
    xroad: CLIENT,
    en: 'GET, HEAD, DELETE and OPTIONS requests carry no body here.',
    zh: 'GET、HEAD、DELETE、OPTIONS 請求不得帶有內容。',
  },
  'framing.upgrade': {
    status: 400,
    fault: 'requester',
    mark: 'event',
    xroad: CLIENT,
    en: 'This gateway does not change protocols. Send the request without Upgrade.',
    zh: '本閘道不支援通訊協定切換，請勿傳送 Upgrade 標頭。',
  },
  'framing.expectation': {
    status: 417,
    fault: 'requester',
    mark: 'event',
    xroad: CLIENT,
    en: 'The only expectation supported is 100-continue.',
    zh: '僅支援 Expect: 100-continue。',
  },
  'framing.timeout': {
    status: 408,
    fault: 'requester',
    mark: 'event',
    xroad: CLIENT,
    en: 'The request did not arrive in time.',
    zh: '請求未在時限內送達。',
  },
  'framing.headers_too_large': {
    status: 431,
    fault: 'requester',
    mark: 'event',
    xroad: CLIENT,
    en: 'Too many or too large header fields: at most 100 fields, 16 KiB together.',
    zh: '標頭過多或過大：最多 100 個欄位，合計 16 KiB。',
  },
  'framing.target_too_long': {
    status: 414,
    fault: 'requester',
    mark: 'event',
    xroad: CLIENT,
    en: 'The request target is longer than 8,000 bytes.',
    zh: '請求路徑超過 8,000 位元組。',
  },
  'framing.trailer': {
    status: 400,
    fault: 'requester',
    mark: 'abort',
    xroad: CLIENT,
    en: 'Trailer fields are not accepted here.',
    zh: '此處不接受 trailer 欄位。',
  },

  // What is asked for (RFC 9110 §7, X-Road REST 4.1–4.3).
  'target.malformed': {
    status: 400,
    fault: 'requester',
    mark: 'record',
    xroad: CLIENT,
    en: 'The path is not accepted: no dot segments, empty segments, encoded separators, backslash, semicolon, fragment, control or non-ASCII characters.',
    zh: '路徑不被接受：不得含點區段、空區段、經編碼的分隔符號、反斜線、分號、片段、控制字元或非 ASCII 字元。',
  },
  'target.not_xroad': {
    status: 400,
    fault: 'requester',
    mark: 'record',
    xroad: CLIENT,
    en: 'The path must be /r1/{instance}/{class}/{member}/{subsystem}/{service}[/path].',
    zh: '路徑格式須為 /r1/{instance}/{class}/{member}/{subsystem}/{service}[/path]。',
  },
  'target.misdirected': {
    status: 421,
    fault: 'requester',
    mark: 'record',
    xroad: CLIENT,
    en: 'This gateway does not answer for that host.',
    zh: '本閘道不為該主機名稱提供服務。',
  },
  'header.duplicate': {
    status: 400,
    fault: 'requester',
    mark: 'record',
    xroad: 'Client.DuplicateHeaderField',
    en: 'A header field that may stand once was sent more than once.',
    zh: '只能出現一次的標頭欄位重複出現。',
  },
  'header.reserved': {
    status: 400,
    fault: 'requester',
    mark: 'record',
    xroad: CLIENT,
    en: 'A header field reserved for gateways was sent by a client.',
    zh: '用戶端不得傳送閘道保留的標頭欄位。',
  },
  'header.hop_by_hop': {
    status: 400,
    fault: 'requester',
    mark: 'record',
    xroad: CLIENT,
    en: 'Connection names a field that is not hop-by-hop.',
    zh: 'Connection 標頭列出了非逐跳欄位。',
  },
  'header.malformed': {
    status: 400,
    fault: 'requester',
    mark: 'record',
    xroad: CLIENT,
    en: 'A header field has a name or value that is not accepted; values are printable ASCII.',
    zh: '標頭欄位的名稱或值不被接受；值須為可列印 ASCII。',
  },
  'header.missing': {
    status: 400,
    fault: 'requester',
    mark: 'record',
    xroad: 'Client.MissingHeaderField',
    en: 'X-Road-Client is missing or not instance/class/member/subsystem.',
    zh: '缺少 X-Road-Client，或格式不是 instance/class/member/subsystem。',
  },

  // Who is asking the consumer gateway.
  'client.certificate_missing': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ClientProxy.SslAuthenticationFailed',
    en: 'This subsystem must connect with its registered client certificate.',
    zh: '此子系統須以已登記的用戶端憑證連線。',
  },
  'client.certificate_unknown': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ClientProxy.SslAuthenticationFailed',
    en: 'The client certificate is not registered for this subsystem.',
    zh: '用戶端憑證未登記於此子系統。',
  },
  'client.unknown': {
    status: 400,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ClientProxy.UnknownMember',
    en: 'X-Road-Client is not a subsystem of this gateway.',
    zh: 'X-Road-Client 不是本閘道的子系統。',
  },

  // Who the user is (RFC 7519, RFC 9449, RFC 8705, RFC 9470).
  'assertion.required': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The agreement asks for a user assertion. Send one in T-Road-Assertion; WWW-Authenticate says of which level.',
    zh: '介接協議要求使用者身分聲明，請以 T-Road-Assertion 傳送；所需等級見 WWW-Authenticate。',
  },
  'assertion.malformed': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The user assertion is not a signed JWT, or one that was also encrypted, within the size limits.',
    zh: '使用者身分聲明不是已簽章（或簽章後加密）的 JWT，或超過大小上限。',
  },
  'assertion.encryption': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The user assertion was not encrypted to this gateway in an accepted way.',
    zh: '使用者身分聲明未以可接受的方式加密給本閘道。',
  },
  'assertion.header': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The header of the user assertion has members other than alg, kid and typ.',
    zh: '使用者身分聲明的標頭含有 alg、kid、typ 以外的成員。',
  },
  'assertion.type': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'This token is no user assertion: its type is not at+jwt.',
    zh: '此權杖不是使用者身分聲明：其類型不是 at+jwt。',
  },
  'assertion.algorithm': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The user assertion is signed with an algorithm that its key is not registered for.',
    zh: '使用者身分聲明所用演算法與金鑰登記的演算法不符。',
  },
  'assertion.issuer': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The issuer of the user assertion is not registered.',
    zh: '使用者身分聲明的簽發者未登記。',
  },
  'assertion.subject': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The issuer of the user assertion may not speak about users of this agency.',
    zh: '使用者身分聲明的簽發者不得代表此機關的使用者。',
  },
  'assertion.key_unknown': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The key of the user assertion is not registered for its issuer.',
    zh: '使用者身分聲明的金鑰未登記於其簽發者。',
  },
  'assertion.signature': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The signature of the user assertion does not verify.',
    zh: '使用者身分聲明的簽章驗證失敗。',
  },
  'assertion.audience': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: "The user assertion is for another audience than the consumer's gateway.",
    zh: '使用者身分聲明的對象不是介接方的閘道。',
  },
  'assertion.time': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The user assertion has expired, is not valid yet, or is valid for too long.',
    zh: '使用者身分聲明已過期、尚未生效，或有效期間過長。',
  },
  'assertion.claims': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The claims of the user assertion are not those of the profile (docs/identity.md).',
    zh: '使用者身分聲明的內容不符規範（docs/identity.md）。',
  },
  'assertion.replayed': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'This user assertion was used before. One that nothing binds is for a single request.',
    zh: '此使用者身分聲明已使用過；未綁定的聲明僅供單次請求。',
  },
  'assertion.proof_missing': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The user assertion is bound to a key. Send a DPoP proof made with that key.',
    zh: '使用者身分聲明綁定金鑰，請傳送以該金鑰製作的 DPoP 證明。',
  },
  'assertion.proof_invalid': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The DPoP proof is not one for this request, this assertion and this key (RFC 9449 §4.3).',
    zh: 'DPoP 證明與此請求、此聲明或此金鑰不符（RFC 9449 §4.3）。',
  },
  'assertion.proof_nonce': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'Make a new DPoP proof with the nonce of the DPoP-Nonce field.',
    zh: '請以 DPoP-Nonce 欄位的值製作新的 DPoP 證明。',
  },
  'assertion.proof_replayed': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'This DPoP proof was used before. Make a new one for each request.',
    zh: '此 DPoP 證明已使用過，每次請求須製作新的證明。',
  },
  'assertion.certificate': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The user assertion is bound to another client certificate than that of this connection.',
    zh: '使用者身分聲明綁定的用戶端憑證與此連線不符。',
  },
  'assertion.insufficient': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The user has to authenticate again, or more strongly. WWW-Authenticate says how.',
    zh: '使用者須重新驗證或以更高等級驗證，方式見 WWW-Authenticate。',
  },
  'assertion.unprotected': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The agreement asks for an assertion that is encrypted to the gateway or comes with proof of possession.',
    zh: '介接協議要求身分聲明須加密給閘道，或附上持有證明。',
  },
  'assertion.revoked': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The identity provider has ended this session. The user has to authenticate again.',
    zh: '身分提供者已終止此工作階段，使用者須重新驗證。',
  },
  'assertion.keys_stale': {
    status: 503,
    fault: 'gateway',
    mark: 'record',
    xroad: 'Server.ClientProxy.InternalError',
    en: 'The keys of the identity provider could not be fetched for too long.',
    zh: '過久未能取得身分提供者的金鑰。',
  },

  // Who is on the other end of the link (RFC 8446, RFC 5280, registry).
  'peer.certificate': {
    status: 403,
    fault: 'requester',
    mark: 'event',
    xroad: 'Server.ServerProxy.SslAuthenticationFailed',
    en: 'The gateway certificate is not accepted.',
    zh: '閘道憑證不被接受。',
  },
  'peer.unknown': {
    status: 403,
    fault: 'requester',
    mark: 'event',
    xroad: 'Server.ServerProxy.UnknownMember',
    en: 'The gateway is not in the registry.',
    zh: '該閘道不在登記名冊中。',
  },
  'peer.key': {
    status: 403,
    fault: 'requester',
    mark: 'event',
    xroad: 'Server.ServerProxy.SslAuthenticationFailed',
    en: 'The gateway key is not the registered one.',
    zh: '閘道金鑰與登記不符。',
  },
  'peer.quarantined': {
    status: 403,
    fault: 'requester',
    mark: 'event',
    xroad: 'Server.ServerProxy.SslAuthenticationFailed',
    en: 'The gateway has shown two different logs and is quarantined.',
    zh: '該閘道曾出示兩份不一致的日誌，已被隔離。',
  },

  // The message between gateways (RFC 9421, RFC 9530).
  'message.signature_missing': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.MissingSignature',
    en: 'The message carries no signature of the expected label and tag.',
    zh: '訊息缺少預期標籤與用途的簽章。',
  },
  'message.signature_invalid': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.InvalidSignatureValue',
    en: 'The message signature does not verify.',
    zh: '訊息簽章驗證失敗。',
  },
  'message.component_uncovered': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.MalformedSignature',
    en: 'The signature does not cover exactly what the profile asks for.',
    zh: '簽章涵蓋範圍不符合規範。',
  },
  'message.key_unknown': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.SignatureVerification',
    en: 'The signing key is not registered for this agency, or not valid now.',
    zh: '簽章金鑰未登記於該機關，或目前無效。',
  },
  'message.expired': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.SignatureVerification',
    en: 'The signature is outside its time window. Check both clocks.',
    zh: '簽章已逾時限，請檢查雙方時鐘。',
  },
  'message.inconsistent': {
    status: 400,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.InvalidMessage',
    en: 'Sender, receiver, route or mode of the signed message do not agree.',
    zh: '簽章訊息中的傳送者、接收者、路由或模式不一致。',
  },
  'message.replayed': {
    status: 409,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.InvalidMessage',
    en: 'This message was seen before. Send a new one.',
    zh: '此訊息已處理過，請送出新的訊息。',
  },
  'message.digest_mismatch': {
    status: 400,
    fault: 'requester',
    mark: 'abort',
    xroad: 'Server.ServerProxy.InvalidMessage',
    en: 'The content does not match its signed digest.',
    zh: '內容與簽章的摘要不符。',
  },
  'message.incomplete': {
    status: 400,
    fault: 'requester',
    mark: 'abort',
    xroad: 'Server.ServerProxy.InvalidMessage',
    en: 'The message ended before it was complete.',
    zh: '訊息在完成前中斷。',
  },
  'message.length_mismatch': {
    status: 400,
    fault: 'requester',
    mark: 'abort',
    xroad: 'Server.ServerProxy.InvalidMessage',
    en: 'The content is not as long as signed.',
    zh: '內容長度與簽章不符。',
  },
  'message.completion': {
    status: 400,
    fault: 'requester',
    mark: 'abort',
    xroad: 'Server.ServerProxy.InvalidMessage',
    en: 'The closing fields are missing, repeated or for another message.',
    zh: '結尾欄位缺少、重複或屬於其他訊息。',
  },
  'message.too_large': {
    status: 413,
    fault: 'requester',
    mark: 'record',
    xroad: CLIENT,
    en: 'The content is larger than this service takes.',
    zh: '內容超過此服務的上限。',
  },
  'message.stalled': {
    status: 408,
    fault: 'requester',
    mark: 'abort',
    xroad: CLIENT,
    en: 'The transfer stopped for too long.',
    zh: '傳輸停滯過久。',
  },

  // The machine behind the request, and the peer's own host (RFC 9334 relying party).
  'device.required': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'This service demands an attested device, and no attestation result was presented. Attest the device (troad device run) and repeat.',
    zh: '此服務要求經證明的裝置，但未出示證明結果。請執行裝置證明（troad device run）後重試。',
  },
  'device.result': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The attestation result is not acceptable: its form, issuer, signature, audience or certificate is wrong.',
    zh: '裝置證明結果不被接受：其格式、簽發者、簽章、對象或憑證不符。',
  },
  'device.expired': {
    status: 401,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The attestation result has expired. Attest the device again.',
    zh: '裝置證明結果已過期，請重新證明。',
  },
  'device.binding': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: "The attestation result is not bound to this connection by the device's TPM.",
    zh: '裝置證明結果未由裝置的 TPM 與此連線綁定。',
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
    zh: '此裝置已被停權或撤銷，請洽證明服務管理者。',
  },
  'device.insufficient': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The state of the device is below what this service demands.',
    zh: '裝置狀態低於此服務的要求。',
  },

  'device.node_required': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The agreement demands that both gateways run on attested hosts, and one of them has shown no current result. Its operator has to look at its device agent.',
    zh: '介接協議要求雙方閘道均運行於經證明的主機，其中一方未出示有效的證明結果。請該方維運人員檢查裝置代理程式。',
  },
  'device.node_insufficient': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: "The state of a gateway's host is below what the agreement demands.",
    zh: '閘道主機的狀態低於介接協議的要求。',
  },

  // Leave to do it.
  'agreement.missing': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'No agreement between this consumer and this service is in force.',
    zh: '此介接方與此服務之間沒有生效的介接協議。',
  },
  'policy.denied': {
    status: 403,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.AccessDenied',
    en: 'The policy denies this request.',
    zh: '政策拒絕此請求。',
  },
  'policy.undefined': {
    status: 503,
    fault: 'gateway',
    mark: 'record',
    xroad: 'Server.ServerProxy.InternalError',
    en: 'The policy gave no usable decision, so nothing is allowed.',
    zh: '政策未給出可用的決定，因此一律不允許。',
  },
  'policy.expired': {
    status: 503,
    fault: 'gateway',
    mark: 'record',
    xroad: 'Server.ServerProxy.InternalError',
    en: 'The policy in force has expired, so nothing is allowed.',
    zh: '使用中的政策已過期，因此一律不允許。',
  },
  'policy.failed': {
    status: 503,
    fault: 'gateway',
    mark: 'record',
    xroad: 'Server.ServerProxy.InternalError',
    en: 'The policy engine failed, so nothing is allowed.',
    zh: '政策引擎失敗，因此一律不允許。',
  },

  // Where it should go.
  'service.unknown': {
    status: 404,
    fault: 'requester',
    mark: 'record',
    xroad: 'Server.ServerProxy.UnknownService',
    en: 'There is no such service at the provider.',
    zh: '提供方沒有此服務。',
  },
  'service.disabled': {
    status: 503,
    fault: 'provider',
    mark: 'record',
    xroad: 'Server.ServerProxy.ServiceDisabled',
    en: 'The provider has disabled this service.',
    zh: '提供方已停用此服務。',
  },
  'service.unreachable': {
    status: 502,
    fault: 'provider',
    mark: 'abort',
    xroad: 'Server.ServerProxy.NetworkError',
    en: 'The service of the provider cannot be reached.',
    zh: '無法連線至提供方的服務。',
  },
  'service.timeout': {
    status: 504,
    fault: 'provider',
    mark: 'abort',
    xroad: 'Server.ServerProxy.NetworkError',
    en: 'The service of the provider did not answer in time.',
    zh: '提供方的服務未在時限內回應。',
  },
  'service.malformed': {
    status: 502,
    fault: 'provider',
    mark: 'abort',
    xroad: 'Server.ServerProxy.ServiceFailed',
    en: 'The service of the provider answered with something that is not acceptable HTTP.',
    zh: '提供方的服務回應不是可接受的 HTTP。',
  },
  'service.broken': {
    status: 502,
    fault: 'provider',
    mark: 'abort',
    xroad: 'Server.ServerProxy.ServiceFailed',
    en: 'The service of the provider broke off its answer.',
    zh: '提供方的服務中斷了回應。',
  },
  'service.overloaded': {
    status: 503,
    fault: 'provider',
    mark: 'record',
    xroad: 'Server.ServerProxy.NetworkError',
    en: 'The service of the provider has too many requests in flight. Try again later.',
    zh: '提供方服務的同時請求過多，請稍後再試。',
  },

  // The way there.
  'link.unreachable': {
    status: 502,
    fault: 'gateway',
    mark: 'abort',
    xroad: 'Server.ClientProxy.NetworkError',
    en: 'The gateway of the provider cannot be reached.',
    zh: '無法連線至提供方的閘道。',
  },
  'link.timeout': {
    status: 504,
    fault: 'gateway',
    mark: 'abort',
    xroad: 'Server.ClientProxy.NetworkError',
    en: 'The gateway of the provider did not answer in time.',
    zh: '提供方的閘道未在時限內回應。',
  },
  'link.broken': {
    status: 502,
    fault: 'gateway',
    mark: 'abort',
    xroad: 'Server.ClientProxy.NetworkError',
    en: 'The link to the other gateway broke.',
    zh: '閘道之間的連線中斷。',
  },
  'link.peer_rejected': {
    status: 502,
    fault: 'gateway',
    mark: 'abort',
    xroad: 'Server.ClientProxy.SslAuthenticationFailed',
    en: 'The other gateway is not the one the registry names.',
    zh: '對方閘道與登記名冊不符。',
  },
  'response.signature': {
    status: 502,
    fault: 'gateway',
    mark: 'abort',
    xroad: 'Server.ClientProxy.InvalidSignatureValue',
    en: 'The answer is not properly signed by the provider.',
    zh: '回應未經提供方正確簽章。',
  },
  'response.binding': {
    status: 502,
    fault: 'gateway',
    mark: 'abort',
    xroad: 'Server.ClientProxy.InconsistentResponse',
    en: 'The answer belongs to another request.',
    zh: '回應不屬於此請求。',
  },
  'response.digest': {
    status: 502,
    fault: 'gateway',
    mark: 'abort',
    xroad: 'Server.ClientProxy.InvalidSignatureValue',
    en: 'The answer does not match its signed digest or length.',
    zh: '回應與簽章的摘要或長度不符。',
  },
  'response.incomplete': {
    status: 502,
    fault: 'gateway',
    mark: 'abort',
    xroad: 'Server.ClientProxy.NetworkError',
    en: 'The answer ended before it was complete.',
    zh: '回應在完成前中斷。',
  },
  'response.stalled': {
    status: 504,
    fault: 'gateway',
    mark: 'abort',
    xroad: 'Server.ClientProxy.NetworkError',
    en: 'The answer stopped for too long.',
    zh: '回應停滯過久。',
  },
  'response.receiver_gone': {
    status: 499,
    fault: 'requester',
    mark: 'abort',
    xroad: CLIENT,
    en: 'The receiver closed the connection before the end.',
    zh: '接收端在結束前關閉連線。',
  },

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
} as const satisfies Record<`${string}.${string}`, RefusalRow>;

export type RefusalCode = keyof typeof REFUSALS;

export const isRefusalCode = (text: string): text is RefusalCode => Object.hasOwn(REFUSALS, text);

/** X-Road renamed one code beyond its spelling in 7.8. */
const RENAMED = new Map([
  ['Server.ClientProxy.OutdatedGlobalConf', 'server.clientproxy.global_conf_outdated'],
]);

export type XRoadSpelling = 'camel' | 'snake';

/** The X-Road error type of a refusal in the spelling the instance uses: CamelCase up to 7.7, snake_case from 7.8. */
export function xroadType(code: RefusalCode, spelling: XRoadSpelling): string {
  const camel: string = REFUSALS[code].xroad;
  if (spelling === 'camel') return camel;
  const renamed = RENAMED.get(camel);
  if (renamed !== undefined) return renamed;
  const [prefix, ...rest] = camel.split('.');
  return [prefix, ...rest]
    .map((part = '', i, all) =>
      // Prefixes lose their capitals only (`ClientProxy` → `clientproxy`); the code itself is split into words.
      i < all.length - 1 && i < 2
        ? part.toLowerCase()
        : part.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, '_').toLowerCase(),
    )
    .join('.');
}
