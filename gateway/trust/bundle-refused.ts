import { ConfigError, MalformedBytes } from '../core/errors.ts';

interface Texts {
  readonly en: string;
  readonly zh: string;
}

/** Why a bundle is not put in force. The one that is goes on until it expires. */
export const BUNDLE_REFUSALS = {
  'bundle.unreadable': { en: 'A file of the bundle cannot be read.', zh: '無法讀取政策包的檔案。' },
  'bundle.file_missing': { en: 'A file of the bundle is missing.', zh: '政策包缺少檔案。' },
  'bundle.file_extra': {
    en: 'The bundle holds a file that is none of it.',
    zh: '政策包含有不屬於它的檔案。',
  },
  'bundle.manifest': { en: 'The manifest is malformed.', zh: '政策包的清單格式錯誤。' },
  'bundle.digest_mismatch': {
    en: 'A file is not the one the manifest names.',
    zh: '檔案內容與清單所列的摘要不符。',
  },
  'bundle.data': { en: 'The data document is malformed.', zh: '政策包的資料文件格式錯誤。' },
  'bundle.module': {
    en: 'The module is not a policy this gateway runs.',
    zh: '政策模組不是本閘道可執行的模組。',
  },
  'bundle.import': {
    en: 'The module wants something of the host: an import or a builtin.',
    zh: '政策模組要求主機提供不允許的函式。',
  },
  'bundle.abi': { en: 'The module is of another ABI version.', zh: '政策模組的 ABI 版本不符。' },
  'bundle.release_malformed': { en: 'release.json is malformed.', zh: 'release.json 格式錯誤。' },
  'bundle.unsigned': {
    en: 'The bundle has no release, and this gateway demands signatures.',
    zh: '政策包未經簽署，而本閘道要求簽章。',
  },
  'bundle.signature_bad': {
    en: 'A signature of the release does not verify.',
    zh: '政策包的簽章驗證失敗。',
  },
  'bundle.signer_unknown': {
    en: 'Too few known signers: somebody unknown has signed.',
    zh: '有不明的簽署者，且已知簽署者不足。',
  },
  'bundle.signatures_few': {
    en: 'Fewer signers than the threshold have signed.',
    zh: '簽署者人數未達門檻。',
  },
  'bundle.not_yet_valid': { en: 'The release is not valid yet.', zh: '政策包尚未生效。' },
  'bundle.expired': { en: 'The release has expired.', zh: '政策包已過期。' },
  'bundle.rollback': {
    en: 'A newer version has been in force here.',
    zh: '此閘道已使用過較新版本的政策包，不得退回。',
  },
  'bundle.quarantined': {
    en: 'The bundle is in quarantine: it ran away or failed in this gateway.',
    zh: '政策包因執行逾時或失敗而遭隔離。',
  },
} as const satisfies Record<`bundle.${string}`, Texts>;

export type BundleRefusalCode = keyof typeof BUNDLE_REFUSALS;

/** Bytes of a bundle that are not what they have to be, where the format at fault says which reason it is. */
export class BundleFault extends MalformedBytes {
  readonly code: BundleRefusalCode;
  constructor(code: BundleRefusalCode, detail: string) {
    super(detail);
    this.code = code;
  }
}

/** A bundle that is not put in force, with the first reason's code and everything that was found. */
export class BundleRefused extends ConfigError {
  readonly code: BundleRefusalCode;
  constructor(code: BundleRefusalCode, problems: readonly string[]) {
    super(problems);
    this.code = code;
  }
}
