// What must not compile: users made by hand.
import type { EpochSeconds } from '../core/clock.ts';
import { SecurityEvent } from './security-event.ts';
import { VerifiedToken, type Issuer } from './token.ts';
import { UserAssertion, type PossessionContext, type Shown } from './user-assertion.ts';

declare const token: VerifiedToken;
declare const user: UserAssertion;
declare const issuer: Issuer;
declare const shown: Shown;
declare const context: PossessionContext;
declare const now: EpochSeconds;

// @ts-expect-error only VerifiedToken.verify makes one
void new VerifiedToken('a.b.c', token.claims, issuer);

const shapedToken = { claims: token.claims, issuer, jws: token.jws };
// @ts-expect-error an object of the same shape is not one
void (shapedToken satisfies VerifiedToken);

// @ts-expect-error only UserAssertion.prove makes one
void new UserAssertion(token, shown, {});

// @ts-expect-error one property of it in an object is not it
void (Object.assign({}, { level: user.level }) satisfies UserAssertion);

declare const lookalike: Omit<UserAssertion, never>;
// @ts-expect-error nor is an object that has every public property
void (lookalike satisfies UserAssertion);

// @ts-expect-error claims that nobody verified prove nobody
void UserAssertion.prove({ claims: token.claims, issuer, jws: 'a.b.c' }, shown, context);

// @ts-expect-error a user without a look at the sign-outs
void UserAssertion.prove(token, shown, { ...context, revocations: undefined });

// @ts-expect-error only SecurityEvent.verify makes one
void new SecurityEvent({ issuer: 'x', jti: 'y', issuedAt: now, type: 'z', effect: 'ended', at: now });

// @ts-expect-error levels are 0 to 3
user.level.aal satisfies 0 | 1 | 2;
