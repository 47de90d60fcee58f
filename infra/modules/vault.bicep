// The secrets that cannot be replaced by an identity: the hub's own, and the database's password.

param location string
param name string
param tags object
param principalId string
param deployerId string

@allowed([
  'User'
  'ServicePrincipal'
])
param deployerType string

@description('By the names below.')
@secure()
param secrets object

param publicNetworkAccess string
param workspaceId string

var names = [
  'database-url'
  'database-password'
  'admin-key'
  'encryption-keys'
  'user-token-secret'
  'email-reports-key'
]
var secretsUser = '4633458b-17de-408a-b874-0445c86b69e6'
var secretsOfficer = 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  // checkov:skip=CKV_AZURE_109:the Premium plan reads references from changing addresses; privateNetwork closes it
  // checkov:skip=CKV_AZURE_189:deployers have no fixed address; privateNetwork closes it
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: subscription().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enabledForTemplateDeployment: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    publicNetworkAccess: publicNetworkAccess
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: publicNetworkAccess == 'Enabled' ? 'Allow' : 'Deny'
    }
  }
}

resource values 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = [for secret in names: {
  // checkov:skip=CKV_AZURE_41:they are rotated by hand (docs/azure.md); one that expires by itself stops the hub
  parent: vault
  name: secret
  properties: {
    value: secrets[secret]
    contentType: 'text/plain'
  }
}]

resource reads 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, principalId, secretsUser)
  scope: vault
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', secretsUser)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource deploys 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(deployerId)) {
  name: guid(vault.id, deployerId, secretsOfficer)
  scope: vault
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', secretsOfficer)
    principalId: deployerId
    principalType: deployerType
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'AuditEvent'
        enabled: true
      }
    ]
  }
}

output id string = vault.id
output name string = vault.name
output uri string = vault.properties.vaultUri
