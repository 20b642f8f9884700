# METADATA
# title: What an agency adds
# description: >-
#   An agency's own rules stand in packages agency.NAME and have up to three answers: refusals (codes), duties (of an
#   allow, by name) and step_ups (for a refusal that signing in again would change). They can take away and bind, never
#   allow: an exchange that admission or the score refuses stays refused.
package troad.additions

# METADATA
# title: Codes for what an agency does not want
refusals contains reason if some reason in data.agency[_].refusals

# METADATA
# title: Duties, by name
duties[name] contains duty if some name, duty in data.agency[_].duties

# METADATA
# title: What would change a refusal, by its code
step_ups[reason] contains step_up if some reason, step_up in data.agency[_].step_ups
