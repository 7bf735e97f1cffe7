-- Finds the credentials of a request, and removes them from the places where clients may put them.
-- After this filter, `authorization` has the access token and no other scheme,
-- `x-sori-guest-token` has the secret of a guest, and the path and the cookies have neither.
-- `ACCESS_COOKIE` above is generated from the settings.

local WEBHOOK = "^/tokens/webhook/analysis%-complete%f[?%z]"
-- A browser's EventSource cannot send headers, so its path may have the access token.
local EVENT_STREAM = "^/tokens/analysis%-progress/"
local TOKEN_PARAMETER = "access_token"
local GUEST_COOKIE = "sori_guest"
-- Cookies of the accounts service; only its own paths get them.
local ACCOUNT_PATH = "^/auth/"
local ACCOUNT_COOKIES = { "^__Host%-sori_", "^sori_login_" }

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end))
end

-- The path without a parameter of its query, and the first value of the parameter.
local function split_parameter(path, name)
  local start, query = path:match("^([^?]*)%?(.*)$")
  if not query then return path end
  local kept, value = {}, nil
  for part in query:gmatch("[^&]+") do
    local key, text = part:match("^([^=]*)=?(.*)$")
    if unescape(key) == name then
      value = value or unescape(text)
    else
      kept[#kept + 1] = part
    end
  end
  return #kept > 0 and start .. "?" .. table.concat(kept, "&") or start, value
end

-- The pairs of the cookie header, in their order. Two headers are joined by a comma.
local function read_cookies(headers)
  local cookies = {}
  for part in (headers:get("cookie") or ""):gmatch("[^;,]+") do
    local name, value = part:match("^%s*([^=%s]+)%s*=%s*(.-)%s*$")
    if name then cookies[#cookies + 1] = { name = name, value = value } end
  end
  return cookies
end

local function cookie_value(cookies, name)
  for _, cookie in ipairs(cookies) do
    if cookie.name == name then return cookie.value end
  end
end

local function is_for_accounts(cookie)
  for _, pattern in ipairs(ACCOUNT_COOKIES) do
    if cookie.name:match(pattern) then return true end
  end
  return false
end

-- Services get only the cookies that they read.
local function forward_cookies(headers, cookies, path)
  local kept = {}
  for _, cookie in ipairs(path:match(ACCOUNT_PATH) and cookies or {}) do
    if is_for_accounts(cookie) then kept[#kept + 1] = cookie.name .. "=" .. cookie.value end
  end
  if #kept > 0 then
    headers:replace("cookie", table.concat(kept, "; "))
  else
    headers:remove("cookie")
  end
end

-- The token of the scheme Bearer, in any case (RFC 9110). Other schemes are ignored.
local function bearer_token(headers)
  local scheme, token = (headers:get("authorization") or ""):match("^%s*(%S+)%s*(.-)%s*$")
  return scheme and scheme:lower() == "bearer" and token or nil
end

-- A page of another site must not act with the learner's cookie.
local function token_of_cookie(headers, cookies)
  if ACCESS_COOKIE == "" or headers:get("sec-fetch-site") == "cross-site" then return end
  return cookie_value(cookies, ACCESS_COOKIE)
end

-- A malformed token stays invalid, so that the request is refused.
local function set_token(headers, token)
  if not token then
    headers:remove("authorization")
  elseif token:match("^[%w_.-]+$") then
    headers:replace("authorization", "Bearer " .. token)
  else
    headers:replace("authorization", "Bearer malformed")
  end
end

local function set_guest(headers, cookies)
  local secret = headers:get("x-guest-token") or cookie_value(cookies, GUEST_COOKIE)
  headers:remove("x-guest-token")
  if secret and secret:match("^[%w_-]+$") and #secret >= 32 and #secret <= 128 then
    headers:replace("x-sori-guest-token", secret)
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local path = headers:get(":path") or ""
  local token = bearer_token(headers)
  if path:match(EVENT_STREAM) then
    local rest, parameter = split_parameter(path, TOKEN_PARAMETER)
    if rest ~= path then headers:replace(":path", rest) end
    token = token or parameter
  elseif path:match(WEBHOOK) then
    -- It belongs to the analysis server, which proves itself by the signature in the query.
    set_token(headers, nil)
    headers:remove("cookie")
    return
  end
  local cookies = read_cookies(headers)
  set_token(headers, token or token_of_cookie(headers, cookies))
  set_guest(headers, cookies)
  forward_cookies(headers, cookies, path)
end
