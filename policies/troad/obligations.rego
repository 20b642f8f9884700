# METADATA
# title: Duties that come with a decision
# description: >-
#   With an allow, those that data/classes.json names for the agreement's class and the tier of the score, those of the
#   agency's own rules, and a note in the log where something is odd. With a denial, the step-up that would change it.
# schemas:
#   - input: schema.input
#   - data.classes: schema.classes
package troad.obligations

import data.troad.additions
import data.troad.score

# METADATA
# title: With an allow, the strictest of each name
allowed[name] := min(duties) if some name, duties in wanted

# METADATA
# title: Duties by name
wanted[name] contains duty if some name, duty in data.classes[input.agreement.class].obligations[score.tier]

wanted[name] contains duty if {
	some name, duties in additions.duties
	some duty in duties
}

wanted.extra_logging contains true if noteworthy

# METADATA
# title: Is this to be looked at, although it is allowed?
noteworthy if score.feed_stale

noteworthy if score.refusals <= 1

# METADATA
# title: With a denial, what the user could do about it
# description: >-
#   Nothing, when one cause would remain: asking for a sign-in would be a false trail.
denied.step_up := {
	"aal": max({step.aal | some step in steps}),
	"max_age_seconds": min({step.max_age_seconds | some step in steps}),
} if {
	is_object(input.assertion)
	not hopeless
}

# METADATA
# title: What each cause of a denial asks for
steps contains score.step_up(threshold) if score.value < threshold

steps contains step if {
	some reason in additions.refusals
	some step in additions.step_ups[reason]
}

# METADATA
# title: Is there a cause that no sign-in changes?
hopeless if {
	score.value < threshold
	not score.step_up(threshold)
}

hopeless if {
	some reason in additions.refusals
	not additions.step_ups[reason]
}

# METADATA
# title: What the score has to reach
threshold := data.classes[input.agreement.class].threshold
