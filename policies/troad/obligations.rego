# METADATA
# title: Duties that come with a decision
# description: >-
#   With an allow, those that data/classes.json names for the agreement's class and the tier of the score, and a note in
#   the log where something is odd. With a denial for a low score, the step-up that would change it.
# schemas:
#   - input: schema.input
#   - data.classes: schema.classes
package troad.obligations

import data.troad.score

# METADATA
# title: With an allow
allowed[name] := duty if some name, duty in data.classes[input.agreement.class].obligations[score.tier]

allowed["extra_logging"] if noteworthy

# METADATA
# title: Is this to be looked at, although it is allowed?
noteworthy if score.feed_stale

noteworthy if score.refusals <= 1

# METADATA
# title: With a denial for a low score
denied["step_up"] := duty if {
	is_object(input.assertion)
	duty := score.step_up(data.classes[input.agreement.class].threshold)
}
