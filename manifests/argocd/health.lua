-- How healthy is a TrainingJob, a QuantizationJob, an InferenceService or a SearchJob? One script for all: they share their
-- conditions. Argo CD runs it (Lua 5.1) with the resource as `obj`; kustomization.yaml beside it puts it into argocd-cm.

local function health(status, message)
  return { status = status, message = message }
end

local function words(condition)
  local message = condition.message or ""
  if condition.reason == nil then
    return message
  end
  return condition.reason .. ": " .. message
end

local status = obj.status
if status == nil or status.conditions == nil then
  return health("Progressing", "the operator has not seen this resource yet")
end

-- What the operator says is about an earlier spec: neither good nor bad news are news.
local generation = obj.metadata.generation
if generation ~= nil and status.observedGeneration ~= nil and status.observedGeneration ~= generation then
  return health("Progressing", "the operator has not seen generation " .. generation .. " yet")
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end

local function holds(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

if holds("Failed") then
  return health("Degraded", words(conditions.Failed))
end
if holds("Stalled") then
  return health("Degraded", words(conditions.Stalled))
end
if holds("Suspended") then
  return health("Suspended", words(conditions.Suspended))
end

local ready = conditions.Ready
if ready == nil then
  return health("Progressing", "the operator has not judged this resource yet")
end
if ready.status == "True" then
  if ready.reason == "ScaledToZero" then
    return health("Suspended", words(ready))
  end
  return health("Healthy", words(ready))
end
if ready.status == "False" then
  return health("Degraded", words(ready))
end
return health("Progressing", words(ready))
