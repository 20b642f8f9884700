import { ConfigError, describe, MalformedBytes } from './errors.ts';

/** What the operating system refused, by its code: what it means and what to do about it. */
const REFUSED: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file: check the path  沒有這個檔案，請檢查路徑',
  'scandir ENOENT': 'there is no such folder: check the path  沒有這個資料夾，請檢查路徑',
  'scandir ENOTDIR': 'is a file: name the folder  這是檔案，請指定資料夾',
  'mkdir ENOENT': 'no folder can be made there: check the path  無法在此建立資料夾，請檢查路徑',
  ENOTDIR: 'there is no such file: a part of the path is a file  路徑中有一段是檔案，不是資料夾',
  EISDIR: 'is a folder: name a file in it  這是資料夾，請指定其中的檔案',
  ELOOP: 'is a symbolic link: name the file itself  這是符號連結，請指定檔案本身',
  EEXIST: 'is there already  已存在',
  EACCES: 'may not be opened by this user: look at its owner and mode (ls -ld)  目前使用者無權開啟',
  EPERM: 'this user may not do that: look at its owner and mode (ls -ld)  目前使用者無權執行',
  EROFS: 'the file system is read-only  檔案系統為唯讀',
  ENOSPC: 'the disk is full  磁碟已滿',
  'connect ENOENT': 'there is no such socket: is the program that listens there running?  沒有程式在此聆聽',
  'connect ECONNREFUSED': 'nobody listens there: is the program running?  沒有程式在此聆聽',
  'connect ENOTDIR': 'a part of the path is a file: name the folder  路徑中有一段是檔案，請指定資料夾',
  'connect EINVAL': 'is too long for a socket: 107 bytes at most  路徑太長，最多 107 位元組',
  'connect EACCES': 'may not be used by this user  目前使用者無權使用',
  'listen EADDRINUSE': 'another program listens there already  已有其他程式在此聆聽',
  'listen EACCES': 'this user may not listen there: ports below 1024 are protected  目前使用者無權在此聆聽',
};

interface Refused {
  readonly what: string;
  /** Where, when the error says it: reading a folder, for one, does not. */
  readonly place: string | undefined;
}

/** @returns undefined when it is not an error of the operating system that is known here */
function refusedBySystem(thrown: unknown): Refused | undefined {
  if (!(thrown instanceof Error) || !('code' in thrown) || !('syscall' in thrown)) return undefined;
  const [call, code] = [String(thrown.syscall), String(thrown.code)];
  // The same code means another thing for a socket.
  const ofFile = call === 'connect' || call === 'listen' ? undefined : REFUSED[code];
  const what = REFUSED[`${call} ${code}`] ?? ofFile;
  if (what === undefined) return undefined;
  const place = 'path' in thrown ? thrown.path : 'address' in thrown ? thrown.address : undefined;
  const port = 'port' in thrown && typeof thrown.port === 'number' ? `:${thrown.port}` : '';
  return { what, place: typeof place === 'string' ? `${place}${port}` : undefined };
}

/** What is wrong, for people, where they know which file it is about. */
export const inWords = (thrown: unknown): string => refusedBySystem(thrown)?.what ?? describe(thrown);

/** What is wrong and where, for people. */
export function inWordsWithPlace(thrown: unknown): string {
  const refused = refusedBySystem(thrown);
  if (refused?.place === undefined) return describe(thrown);
  return `${refused.place}: ${refused.what}`;
}

/**
 * Runs what reads a file, and lets what is wrong with the file say which one it is.
 * @param file its path as people know it, perhaps with the option that named it before it
 * @throws ConfigError
 */
export function naming<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    throw named(file, thrown);
  }
}

/** What {@link naming} throws instead: a ConfigError where the file is wrong, anything else as it is. */
export function named(file: string, thrown: unknown): unknown {
  if (thrown instanceof ConfigError)
    return new ConfigError(thrown.problems.map((problem) => `${file}: ${problem}`));
  // What it quotes of the file, it has made safe to show.
  const what = thrown instanceof MalformedBytes ? thrown.message : refusedBySystem(thrown)?.what;
  return what === undefined ? thrown : new ConfigError([`${file}: ${what}`]);
}

/** What this process was started with: `<(program)` of a shell is one. It ends with whoever writes there. */
const OWN_STREAM = /^\/(?:dev\/(?:stdin|fd\/\d+)|proc\/self\/fd\/\d+)$/;

/** The largest file that somebody names is a registry. */
const MAX_MIB = 128;

/**
 * To be asked before a file that somebody named is read: a pipe with nobody at its other end is waited for without end, and
 * a device may have none. A folder passes: what reads it says so.
 * @throws ConfigError
 */
export function requireFile(
  path: string,
  found: { isFile(): boolean; isDirectory(): boolean; readonly size: number },
): void {
  if (found.isFile() && found.size > MAX_MIB << 20)
    throw new ConfigError([
      `is larger than ${MAX_MIB} MiB: is this the right file?  大於 ${MAX_MIB} MiB，請確認檔案`,
    ]);
  if (found.isFile() || found.isDirectory() || OWN_STREAM.test(path)) return;
  throw new ConfigError([
    'is a pipe or a device: name a file; what a program prints is read as <(program)  這是管線或裝置，請指定檔案',
  ]);
}

/** The English half of a message in both languages, for reports that show nothing but ASCII. */
export const english = (message: string): string => message.split('  ', 1)[0] ?? '';
