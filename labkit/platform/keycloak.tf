# The realm with Terraform: everything that realm.yaml, in this folder, declares below the realm itself.
# No user, group or client is named here. To change the realm, change realm.yaml and run terraform apply again.
#
# The realm has to be there already. Terraform's state holds the passwords and secrets of realm.yaml in plain text.

terraform {
  required_providers {
    keycloak = {
      source  = "keycloak/keycloak"
      version = ">= 5.0.0"
    }
  }
}

variable "keycloak_url" {
  type        = string
  description = "Keycloak's address, such as https://localhost:8443"
}

variable "admin_realm" {
  type        = string
  description = "The realm that the administrator is in"
}

variable "admin_client" {
  type        = string
  description = "The client that the administrator signs in through, or that is the administrator itself"
}

variable "admin_user" {
  type        = string
  description = "The administrator's user name; null if the client is the administrator"
  default     = null
}

variable "admin_secret" {
  type        = string
  description = "The administrator's password, or the client's secret"
  sensitive   = true
}

variable "ca_file" {
  type        = string
  description = "The file with the authority of Keycloak's certificate; null for a public one"
  default     = null
}

provider "keycloak" {
  url                 = var.keycloak_url
  realm               = var.admin_realm
  client_id           = var.admin_client
  client_secret       = var.admin_user == null ? var.admin_secret : null
  username            = var.admin_user
  password            = var.admin_user == null ? null : var.admin_secret
  root_ca_certificate = var.ca_file == null ? null : file("${path.module}/${var.ca_file}")
}

locals {
  file  = yamldecode(file("${path.module}/realm.yaml"))
  realm = local.file.realm

  groups  = { for group in try(local.file.groups, []) : "/${group.name}" => group }
  roles   = { for role in try(local.file.roles.realm, []) : role.name => role }
  users   = { for user in try(local.file.users, []) : user.username => user }
  scopes  = { for scope in try(local.file.clientScopes, []) : scope.name => scope }
  clients = { for client in try(local.file.clients, []) : client.clientId => client }

  # Attributes that the provider has an argument for; it takes the others as extra_config.
  scope_attributes  = ["include.in.token.scope", "include.in.openid.provider.metadata", "gui.order"]
  client_attributes = ["backchannel.logout.session.required", "use.refresh.tokens"]

  # A list within a list becomes one map: for_each goes through one level only.
  subgroups = merge([
    for path, group in local.groups : {
      for child in try(group.subGroups, []) : "${path}/${child.name}" => merge(child, { parent = path })
    }
  ]...)
  scope_mappers = merge([
    for name, scope in local.scopes : {
      for mapper in try(scope.protocolMappers, []) : "${name}/${mapper.name}" => merge(mapper, { owner = name })
    }
  ]...)
  client_mappers = merge([
    for name, client in local.clients : {
      for mapper in try(client.protocolMappers, []) : "${name}/${mapper.name}" => merge(mapper, { owner = name })
    }
  ]...)
}

resource "keycloak_group" "groups" {
  for_each    = local.groups
  realm_id    = local.realm
  name        = each.value.name
  description = try(each.value.description, null)
  attributes  = { for name, values in try(each.value.attributes, {}) : name => join("##", values) }
}

resource "keycloak_group" "subgroups" {
  for_each    = local.subgroups
  realm_id    = local.realm
  parent_id   = keycloak_group.groups[each.value.parent].id
  name        = each.value.name
  description = try(each.value.description, null)
  attributes  = { for name, values in try(each.value.attributes, {}) : name => join("##", values) }
}

resource "keycloak_role" "roles" {
  for_each    = local.roles
  realm_id    = local.realm
  name        = each.key
  description = try(each.value.description, null)
  attributes  = { for name, values in try(each.value.attributes, {}) : name => join("##", values) }
}

resource "keycloak_user" "users" {
  for_each         = local.users
  realm_id         = local.realm
  username         = each.key
  enabled          = each.value.enabled
  email            = each.value.email
  email_verified   = each.value.emailVerified
  first_name       = each.value.firstName
  last_name        = each.value.lastName
  required_actions = try(each.value.requiredActions, null)
  attributes       = { for name, values in try(each.value.attributes, {}) : name => join("##", values) }

  # For a new user only: Terraform does not read a password again either.
  dynamic "initial_password" {
    for_each = each.value.credentials
    content {
      value     = initial_password.value.value
      temporary = try(initial_password.value.temporary, false)
    }
  }
}

resource "keycloak_user_groups" "users" {
  for_each   = local.users
  realm_id   = local.realm
  user_id    = keycloak_user.users[each.key].id
  group_ids  = [for path in each.value.groups : merge(keycloak_group.groups, keycloak_group.subgroups)[path].id]
  exhaustive = false # a group that realm.yaml does not declare stays the user's
}

resource "keycloak_user_roles" "users" {
  for_each   = { for name, user in local.users : name => user if can(user.realmRoles) }
  realm_id   = local.realm
  user_id    = keycloak_user.users[each.key].id
  role_ids   = [for name in each.value.realmRoles : keycloak_role.roles[name].id]
  exhaustive = false
}

resource "keycloak_openid_client_scope" "scopes" {
  for_each                            = local.scopes
  realm_id                            = local.realm
  name                                = each.key
  description                         = try(each.value.description, null)
  include_in_token_scope              = try(each.value.attributes["include.in.token.scope"], null)
  include_in_openid_provider_metadata = try(each.value.attributes["include.in.openid.provider.metadata"], null)
  gui_order                           = try(each.value.attributes["gui.order"], null)
  extra_config                        = { for name, value in try(each.value.attributes, {}) : name => value if !contains(local.scope_attributes, name) }
}

resource "keycloak_openid_client" "clients" {
  for_each                            = local.clients
  realm_id                            = local.realm
  client_id                           = each.key
  name                                = try(each.value.name, null)
  description                         = try(each.value.description, null)
  enabled                             = each.value.enabled
  access_type                         = each.value.publicClient ? "PUBLIC" : try(each.value.bearerOnly, false) ? "BEARER-ONLY" : "CONFIDENTIAL"
  client_authenticator_type           = try(each.value.clientAuthenticatorType, null)
  client_secret                       = try(each.value.secret, null)
  standard_flow_enabled               = try(each.value.standardFlowEnabled, null)
  implicit_flow_enabled               = try(each.value.implicitFlowEnabled, null)
  direct_access_grants_enabled        = try(each.value.directAccessGrantsEnabled, null)
  service_accounts_enabled            = try(each.value.serviceAccountsEnabled, null)
  frontchannel_logout_enabled         = try(each.value.frontchannelLogout, null)
  full_scope_allowed                  = try(each.value.fullScopeAllowed, null)
  consent_required                    = try(each.value.consentRequired, null)
  valid_redirect_uris                 = each.value.redirectUris
  web_origins                         = each.value.webOrigins
  root_url                            = try(each.value.rootUrl, null)
  base_url                            = try(each.value.baseUrl, null)
  admin_url                           = try(each.value.adminUrl, null)
  backchannel_logout_session_required = try(each.value.attributes["backchannel.logout.session.required"], null)
  use_refresh_tokens                  = try(each.value.attributes["use.refresh.tokens"], null)
  extra_config                        = { for name, value in try(each.value.attributes, {}) : name => value if !contains(local.client_attributes, name) }
}

resource "keycloak_openid_client_default_scopes" "clients" {
  for_each       = local.clients
  realm_id       = local.realm
  client_id      = keycloak_openid_client.clients[each.key].id
  default_scopes = each.value.defaultClientScopes
  depends_on     = [keycloak_openid_client_scope.scopes]
}

resource "keycloak_openid_client_optional_scopes" "clients" {
  for_each        = { for name, client in local.clients : name => client if can(client.optionalClientScopes) }
  realm_id        = local.realm
  client_id       = keycloak_openid_client.clients[each.key].id
  optional_scopes = each.value.optionalClientScopes
  depends_on      = [keycloak_openid_client_default_scopes.clients]
}

resource "keycloak_generic_protocol_mapper" "scopes" {
  for_each        = local.scope_mappers
  realm_id        = local.realm
  client_scope_id = keycloak_openid_client_scope.scopes[each.value.owner].id
  name            = each.value.name
  protocol        = each.value.protocol
  protocol_mapper = each.value.protocolMapper
  config          = each.value.config
}

resource "keycloak_generic_protocol_mapper" "clients" {
  for_each        = local.client_mappers
  realm_id        = local.realm
  client_id       = keycloak_openid_client.clients[each.value.owner].id
  name            = each.value.name
  protocol        = each.value.protocol
  protocol_mapper = each.value.protocolMapper
  config          = each.value.config
}

# Whatever realm.yaml says and nothing above reads is named before anything is applied, instead of being left out in silence.
locals {
  read = {
    realm         = { items = [local.file], fields = ["realm", "enabled", "groups", "roles", "users", "clientScopes", "clients"] }
    groups        = { items = values(local.groups), fields = ["name", "description", "attributes", "subGroups"] }
    subGroups     = { items = values(local.subgroups), fields = ["name", "description", "attributes", "parent"] }
    "roles.realm" = { items = values(local.roles), fields = ["name", "description", "attributes"] }
    users         = { items = values(local.users), fields = ["username", "enabled", "email", "emailVerified", "firstName", "lastName", "requiredActions", "attributes", "credentials", "groups", "realmRoles"] }
    clientScopes  = { items = values(local.scopes), fields = ["name", "description", "protocol", "attributes", "protocolMappers"] }
    clients       = { items = values(local.clients), fields = ["clientId", "name", "description", "enabled", "protocol", "publicClient", "bearerOnly", "clientAuthenticatorType", "secret", "standardFlowEnabled", "implicitFlowEnabled", "directAccessGrantsEnabled", "serviceAccountsEnabled", "frontchannelLogout", "fullScopeAllowed", "consentRequired", "redirectUris", "webOrigins", "rootUrl", "baseUrl", "adminUrl", "attributes", "defaultClientScopes", "optionalClientScopes", "protocolMappers"] }
  }
  unread = distinct(flatten([
    for kind, each in local.read : [for item in each.items : [for field in keys(item) : "${kind}.${field}" if !contains(each.fields, field)]]
  ]))
}

output "realm" {
  value = local.realm
  precondition {
    condition     = length(local.unread) == 0
    error_message = "keycloak.tf does not read ${join(", ", local.unread)}: add it to the resource, or take it out of realm.yaml."
  }
}
