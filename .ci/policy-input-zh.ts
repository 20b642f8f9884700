/**
 * The sentences of policies/schemas/input.json in Traditional Chinese, by the English: where that changes, what stands here
 * is of yesterday, and a test says so.
 */
export const POLICY_INPUT_ZH: Readonly<Record<string, string>> = {
  'The agreement (介接協議) between the two that is tried; null: there is none.':
    '目前嘗試的雙方介接協議；null：沒有協議。',
  '"none": no user assertion needed. Any other word is refused.':
    '"none"：不需要使用者身分聲明。其他字串一律拒絕。',
  'Demand on the user assertion.': '對使用者身分聲明的要求。',
  'At least.': '至少。',
  'Longest time since the user authenticated.': '使用者驗證至今的最長時間。',
  'Whether possession has to be proved.': '是否須證明持有金鑰。',
  'How much is at stake: a class of data/classes.json. "general" where the registry says nothing.':
    '所涉風險的大小：data/classes.json 所列的等級。名冊未載明時為 "general"。',
  'Consumer subsystem it gives leave to.': '獲准介接的介接方子系統。',
  '"none": any machine will do. Any other word is refused.': '"none"：任何設備皆可。其他字串一律拒絕。',
  'Demand on the machines; null where one of them does not matter.':
    '對設備的要求；不需檢查某一台時，該項為 null。',
  'Tier of the four health items.': '四個健康項目的等級。',
  'How the connection hangs on the TPM: software, bound or tpm.':
    '連線與 TPM 的綁定方式：software、bound 或 tpm。',
  'Tier of the boot: contraindicated, none, warning or affirming.':
    '開機狀態的等級：contraindicated、none、warning 或 affirming。',
  "The consumer's switch.": '介接方的啟用開關。',
  "The provider's switch.": '提供方的啟用開關。',
  'First moment in force.': '生效的第一刻。',
  'Its number in the registry.': '在名冊中的編號。',
  'HTTP methods; "*" is any.': 'HTTP 方法；"*" 為任何方法。',
  'Path patterns, see troad/path.rego.': '路徑樣式，見 troad/path.rego。',
  'Service it gives leave to use.': '獲准使用的服務。',
  'First moment no longer in force.': '失效的第一刻。',
  'The user assertion that was verified; nothing that names the user.':
    '已驗證的使用者身分聲明；不含足以指出使用者姓名的內容。',
  'Authenticator assurance: what the agreed acr stands for, bounded by what amr can bear.':
    '驗證等級（AAL）：約定的 acr 所代表者，且不高於 amr 所能支持者。',
  'Level of the sign-in, as the issuer names it.': '登入等級，依簽發者的名稱。',
  'RFC 8176.': 'RFC 8176。',
  'When the user authenticated, milliseconds since 1970.': '使用者驗證的時刻，1970 年起的毫秒數。',
  'What possession was proved of with this request.': '此次請求證明持有何種金鑰。',
  "1 signed, 2 also encrypted to the consumer's gateway, 3 also bound.":
    '聯合等級（FAL）：1 經簽章，2 另加密給介接方的閘道，3 另綁定金鑰。',
  'Identity assurance: what the agreed acr stands for; 0 when nothing was claimed.':
    '身分確認等級（IAL）：約定的 acr 所代表者；未宣稱時為 0。',
  'Identity provider that signed it.': '簽署的身分提供者。',
  'Member whose users the issuer may speak about.': '簽發者得代表其使用者的成員。',
  'Consumer role: the local information system.': '介接方角色：本機關的資訊系統。',
  'How. https (no client certificate) rests on who can reach the listener.':
    '證明方式。https（無用戶端憑證）取決於何人能連到監聽埠。',
  'Subsystem that was proved.': '經證明的子系統。',
  'Exchange id; echoed in the result.': '交換的編號；結果中須照樣重複。',
  'Attestation result of the machine that the user or client system sits on.':
    '使用者或資訊系統所在設備的證明結果。',
  'How the connection hangs on the TPM.': '連線與 TPM 的綁定方式。',
  'Name of the machine with its attestation service.': '設備在其證明服務中的名稱。',
  'First moment the result no longer counts.': '證明結果失效的第一刻。',
  'AR4SI values; the host says them of itself.': 'AR4SI 值；由主機自述。',
  'Age of its signatures.': '防毒定義檔的新舊。',
  'Other updates that wait; 96 in the same case.': '待安裝的其他更新；有同樣情形時為 96。',
  'Controls that the appraisal policy requires or advises, such as disk encryption.':
    '評鑑政策要求或建議的控制措施，例如磁碟加密。',
  'Security updates that wait; 96 when a component has a weakness that is known to be exploited.':
    '待安裝的安全性更新；元件有已知遭利用的弱點時為 96。',
  'That of the worst health item.': '最差健康項目的等級。',
  'When the attestation service made the result, milliseconds since 1970.':
    '證明服務做成結果的時刻，1970 年起的毫秒數。',
  'Attestation service.': '證明服務。',
  'Appraisal policy it was measured by.': '據以評鑑的政策。',
  'What the TPM vouches for.': 'TPM 所擔保的等級。',
  "Attestation result of the host of the peer gateway: the provider's at the consumer, the consumer's at the provider.":
    '對方閘道主機的證明結果：在介接方為提供方的主機，在提供方為介接方的主機。',
  'Wall clock of the deciding gateway, milliseconds since 1970.': '做決定的閘道的時鐘，1970 年起的毫秒數。',
  'Provider role: the peer gateway, proved by mutual TLS.': '提供方角色：以雙向 TLS 證明的對方閘道。',
  'Name in the proved certificate.': '經證明的憑證中的名稱。',
  'Member the registry gives that gateway to.': '名冊所載該閘道所屬的成員。',
  'What is asked of whom.': '向誰請求什麼。',
  'Consumer subsystem, instance/class/member/subsystem.': '介接方子系統，instance/class/member/subsystem。',
  'Bytes announced; null when only the stream marks the end.': '預告的位元組數；僅由串流標示結尾時為 null。',
  'As received, case-sensitive.': '依收到的原樣，區分大小寫。',
  'Raw path after the service code: empty, or beginning with a slash. Never decoded.':
    '服務代碼之後的原始路徑：空字串，或以斜線開頭。絕不解碼。',
  'instance/class/member of the provider asked.': '所請求提供方的 instance/class/member。',
  'Provider service, instance/class/member/subsystem/service.':
    '提供方的服務，instance/class/member/subsystem/service。',
  'Whose gateway decides.': '由哪一方的閘道決定。',
  "What is unusual about the request, for its caller: the worst of what the client system's, the user's and the machine's habits say, as the deciding gateway's worker has seen them. null: too little is known.":
    '請求對其呼叫方而言的異常之處：資訊系統、使用者與設備的習慣各自所示，取其最差者，依做決定的閘道 worker 所見。null：所知太少。',
  'Where the request comes from: seen in the last 30 days, with an exchange that ended well, or not.':
    '請求的來源位址：30 日內是否曾有正常完成的交換。',
  'The attested machine: seen with this caller in the last 30 days, or not. null: none was presented.':
    '經鑑別的設備：30 日內是否曾與此呼叫方一同出現。null：未出示。',
  "Usual: this hour (UTC), or one beside it, had requests on at least an eighth of the caller's days. null: fewer than five days.":
    'usual：此一小時（UTC）或其前後一小時，在呼叫方至少八分之一的日子裡曾有請求。null：未滿五日。',
  "Requests of this minute in percent of the caller's norm, an average over its last minutes with requests (at least 60). Told in steps, rounded up: 25 wide up to 200, 50 up to 400, 100 up to 800, and so on. null: fewer than five such minutes.":
    '此一分鐘的請求數占呼叫方常態的百分比；常態為最近數個有請求的分鐘的平均（至少 60）。以級距無條件進位：200 以下每級 25，400 以下每級 50，800 以下每級 100，依此類推。null：未滿五個這樣的分鐘。',
  'Requests of the caller refused for its own fault in the last five to ten minutes.':
    '最近五至十分鐘內，因呼叫方自身原因遭拒的請求數。',
  "Content bytes of exchanges that ended in this minute, in percent of the caller's norm (at least 16 MiB). In the same steps. null: fewer than five minutes with content.":
    '此一分鐘內結束的交換的內容位元組數，占呼叫方常態（至少 16 MiB）的百分比。級距相同。null：未滿五個有內容的分鐘。',
  'What the threat feeds (CISA KEV, FIRST EPSS, NVD) say of the weaknesses that the machines report. null: the gateway has no feeds.':
    '威脅情資（CISA KEV、FIRST EPSS、NVD）對設備所回報弱點的說明。null：閘道未設定情資。',
  'Full hours since the oldest feed was published. null: one is missing.':
    '最舊的情資發布至今的整時數。null：有情資缺漏。',
  'Worst CVSS base score in tenths; 0: nothing reported. null: nobody knows.':
    '最差的 CVSS 基本分數，以十分之一計；0：無回報。null：無人知悉。',
  'Worst EPSS probability in thousandths; 0: nothing reported. null: nobody knows.':
    '最差的 EPSS 機率，以千分之一計；0：無回報。null：無人知悉。',
  'How many are known to be exploited.': '已知遭利用者的數目。',
};
