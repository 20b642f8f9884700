import type { HeadLimits } from './frame-head.ts';
import type { FrameOutput } from './frame-output.ts';

/** The stream that a body belongs to, and its connection, as far as bodies need them. */
export interface BodyHost {
  readonly id: number;
  /** Bytes of DATA that we may send. */
  credit: number;
  /** Our direction is open. */
  readonly sending: boolean;
  readonly connection: {
    readonly output: FrameOutput;
    /** What the other side takes in a head. */
    readonly accepted: HeadLimits;
    /** Room for a wider window, as much as there is. @returns bytes */
    borrow(): number;
    giveBack(bytes: number): void;
  };
  /** Gives the other side credit. */
  grant(bytes: number): void;
  /** The end of our message is in the output. */
  sendingEnded(): void;
  /** Our whole message was handed over. */
  finished(): void;
  /** We break off. */
  abandon(cause: Error): void;
}
