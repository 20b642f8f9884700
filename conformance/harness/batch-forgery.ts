import { sha256 } from '../../gateway/core/bytes.ts';
import { BatchTree, BatchSignature } from '../../gateway/message/batch.ts';

/** A batch signature as a gateway would make it, but for what is asked to be different. */
export interface BatchArgs {
  /** Messages that are signed together, and which of them this is. */
  readonly size?: number;
  readonly index?: number;
  /** What the signature says about that, where it lies. */
  readonly statedSize?: number;
  readonly statedIndex?: number;
  /** `alg` in the signature input; the empty one leaves it out. */
  readonly alg?: string;
  readonly path?: 'of another tree' | 'reversed' | 'short' | 'long' | 'of another message';
  /** What stands in place of the signature of the root. */
  readonly root?: 'of another tree' | 'of the message' | 'absent' | 'with a byte more';
  /** Nothing but the signature of the root, or of the message: what is plain elsewhere. */
  readonly only?: 'root' | 'message';
  /** RFC 6962 §2.1: a tree whose leaf the message is said to be, made of the same hashes. */
  readonly claimsNode?: boolean;
}

const EXTRA = sha256('a hash of nothing');

/** The value of `Signature` for the base. @param sign with whatever key the forger has */
export function forgedBatch(args: BatchArgs, base: string, sign: (text: string) => Uint8Array): Uint8Array {
  const { size = 5, index = 1 } = args;
  const treeOf = (name: string): BatchTree =>
    new BatchTree(Array.from({ length: size }, (_, i) => (i === index ? base : `"@path": /${name}/${i}`)));
  const signed = (tree: BatchTree): Uint8Array => sign(tree.text);
  const [tree, other] = [treeOf('neighbour'), treeOf('stranger')];
  const alone = sign(base);
  if (args.only !== undefined) return args.only === 'root' ? signed(tree) : alone;

  const own = new BatchSignature(tree.signatureOf(index, signed(tree)));
  const paths = {
    'of another tree': new BatchSignature(other.signatureOf(index, alone)).path,
    'of another message': new BatchSignature(tree.signatureOf((index + 1) % size, alone)).path,
    reversed: own.path.toReversed(),
    short: own.path.slice(1),
    long: [...own.path, EXTRA],
  };
  const roots = {
    'of another tree': signed(other),
    'of the message': alone,
    absent: new Uint8Array(),
    'with a byte more': Buffer.concat([own.rootSignature, Buffer.of(0)]),
  };
  const path = args.path === undefined ? own.path : paths[args.path];
  // One level less: the first two leaves' node would have to be this message.
  const claimed = args.claimsNode === true ? path.slice(1) : path;
  const head = Buffer.alloc(4);
  head.writeUInt16BE(args.statedSize ?? size, 0);
  head.writeUInt16BE(args.statedIndex ?? index, 2);
  return Buffer.concat([head, ...claimed, args.root === undefined ? own.rootSignature : roots[args.root]]);
}
