-- States who calls in headers that only the gateway sets, and refuses invalid access tokens.
-- Runs after `jwt_authn`, which removes a token that it has verified. `ISSUERS`,
-- `ANONYMOUS_ROLES` and `CLOCK_SKEW_SECONDS` above are generated from the settings, and from the
-- contract `LENIENT_PATHS`: a pattern for each path, and its methods, where an invalid access token
-- is ignored. A client calls them to get a valid one.

local VERIFIED = "envoy.filters.http.jwt_authn"
local KEYS_UNAVAILABLE = "Jwks remote fetch is failed"
local LONGEST_SUBJECT = 255
local UUID = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"

local REFUSALS = {
  ["Jwt is expired"] = "It has expired. Get a new one: POST /auth/refresh.",
  ["Jwt not yet valid"] = "It is not valid yet. Compare the clocks of issuer and gateway.",
  ["Audiences in Jwt are not allowed"] = "It is for another audience. Get one for this product.",
}
local REFUSAL = "Its signature, issuer or content is wrong. Log in again: POST /auth/login."

local function refuse(handle, failure)
  if failure == KEYS_UNAVAILABLE then
    handle:respond({ [":status"] = "503" }, "")
  else
    handle:respond({ [":status"] = "401" }, REFUSALS[failure] or REFUSAL)
  end
end

-- The payload of the verified token with its issuer, or the reason why none was verified.
local function verified(handle)
  local found = handle:streamInfo():dynamicMetadata():get(VERIFIED) or {}
  for name, issuer in pairs(ISSUERS) do
    if found[name] then return found[name], issuer end
  end
  return nil, nil, found.failure and found.failure.message
end

-- A claim may be nested: `realm_access.roles`. Names may contain dots, too.
local function claim(payload, name)
  if payload[name] ~= nil then return payload[name] end
  for part in name:gmatch("[^.]+") do
    payload = type(payload) == "table" and payload[part] or nil
  end
  return payload
end

-- The values of a claim that is a list, or a text with spaces between values.
local function values_of(value)
  if type(value) == "table" then return value end
  local found = {}
  for word in tostring(value or ""):gmatch("%S+") do found[#found + 1] = word end
  return found
end

local function roles_of(payload, issuer)
  local granted, found = {}, {}
  for _, value in ipairs(values_of(claim(payload, issuer.roles_claim))) do
    if issuer.roles[value] then granted[issuer.roles[value]] = true end
  end
  for role in pairs(granted) do found[#found + 1] = role end
  table.sort(found)
  return table.concat(found, " ")
end

-- The id of the account, or nil if the token cannot belong to one.
local function account_of(payload, issuer)
  local subject = payload.sub
  local is_sane = type(subject) == "string" and #subject <= LONGEST_SUBJECT
    and subject:match("^[!-~]+$")
  if not is_sane or (issuer.prefix == "" and not subject:match(UUID)) then return end
  return issuer.prefix .. subject
end

-- Envoy checks `exp` and `nbf` only.
local function is_from_future(payload)
  return type(payload.iat) == "number" and payload.iat > os.time() + CLOCK_SKEW_SECONDS
end

local function set_anonymous(headers)
  headers:replace("x-sori-caller", headers:get("x-sori-guest-token") and "guest" or "nobody")
  if ANONYMOUS_ROLES ~= "" then headers:replace("x-sori-roles", ANONYMOUS_ROLES) end
end

local function ignores_invalid_token(headers)
  -- The transcoder ignores trailing slashes.
  local path = headers:get(":path"):match("^[^?]*"):gsub("(.)/+$", "%1")
  local method = headers:get(":method")
  for pattern, methods in pairs(LENIENT_PATHS) do
    if path:match(pattern) then
      for _, each in ipairs(methods) do
        if each == method then return true end
      end
    end
  end
  return false
end

local function set_account(headers, account, payload, issuer)
  headers:replace("x-sori-caller", "account")
  headers:replace("x-sori-account", account)
  headers:replace("x-sori-roles", roles_of(payload, issuer))
  local session = payload.sid
  -- Sessions belong to the accounts service.
  if issuer.prefix == "" and type(session) == "string" and session:match(UUID) then
    headers:replace("x-sori-session", session)
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local payload, issuer, failure = verified(handle)
  -- A token next to the verified one, or one that was not verified.
  local has_other = headers:get("authorization") ~= nil
  local account = payload and not has_other and account_of(payload, issuer)
  if account and is_from_future(payload) then
    account, failure = nil, "Jwt not yet valid"
  end
  if account then
    set_account(headers, account, payload, issuer)
  elseif not payload and not has_other then
    set_anonymous(headers)
  elseif ignores_invalid_token(headers) then
    headers:remove("authorization")
    set_anonymous(headers)
  else
    refuse(handle, failure)
  end
end
